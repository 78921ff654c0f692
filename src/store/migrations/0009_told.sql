-- Whether receivers have been told of the end of a run. Of those from before this step nobody is.
ALTER TABLE run ADD COLUMN told INTEGER NOT NULL DEFAULT 0 CHECK (told IN (0, 1));
UPDATE run SET told = 1 WHERE finish IS NOT NULL;
CREATE INDEX run_untold ON run (seq) WHERE told = 0 AND finish IS NOT NULL;

-- What receivers were told lately: what is tried again and again is told once. `at` is in milliseconds
-- since 1970.
CREATE TABLE told (
    key TEXT PRIMARY KEY,
    at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX told_by_time ON told (at);
