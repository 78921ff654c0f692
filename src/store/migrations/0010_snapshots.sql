-- What an application was like when a run or a sync of it failed: `of` is the run, or the decision
-- that permitted the sync. The first one stays.
CREATE TABLE snapshot (
    of       TEXT PRIMARY KEY,
    taken_at TEXT NOT NULL,
    body     TEXT NOT NULL
) STRICT, WITHOUT ROWID;
