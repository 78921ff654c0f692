-- What the application had behind it when a run outside an operation was opened. A run that was
-- opened before this step has none and does not count when it ends.
ALTER TABLE run ADD COLUMN since TEXT;
