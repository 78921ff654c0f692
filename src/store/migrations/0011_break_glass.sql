-- What was rolled out although its tests were missing. `body` is all of it as JSON; `closed` is 0 while tests are
-- owed; until `expires_at` (milliseconds since 1970) it lets its plan through, closed or not. Opening and end are in
-- the log.
CREATE TABLE break_glass (
    decision   TEXT PRIMARY KEY,
    expires_at INTEGER NOT NULL,
    closed     INTEGER NOT NULL,
    body       TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX break_glass_in_force ON break_glass (expires_at);

CREATE INDEX break_glass_open ON break_glass (decision) WHERE closed = 0;
