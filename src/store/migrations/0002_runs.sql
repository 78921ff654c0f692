-- What the application had behind it when a run outside an operation was opened. A run that was
-- opened before this step has none and does not count when it ends.
ALTER TABLE run ADD COLUMN since TEXT;

-- When the reporter of a run was last heard, so that a run that nobody ends can be ended.
ALTER TABLE run ADD COLUMN heard_at TEXT NOT NULL DEFAULT '';
UPDATE run SET heard_at = received_at;
CREATE INDEX run_unfinished ON run (heard_at) WHERE finish IS NULL;
