-- Environments whose line is stopped, and who stopped it, when, why and by which decision. The row
-- goes when the line is started again; both are in the log.
CREATE TABLE stopped_line (
    environment TEXT PRIMARY KEY,
    stopped     TEXT NOT NULL
) STRICT, WITHOUT ROWID;
