-- What was rolled out together, and how that was taken back when its tests failed. `body` is all of it as JSON;
-- `goes_on` is 1 while a rollback of it goes on. Decisions and ends are in the log.
CREATE TABLE rollout (
    decision  TEXT PRIMARY KEY,
    goes_on   INTEGER NOT NULL,
    body      TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX rollout_going_on ON rollout (decision) WHERE goes_on = 1;

-- Which applications were synced, or are in which rollouts. An empty namespace is Argo CD's own. `holds` is 1 where a
-- rollback keeps it from coming again by itself.
CREATE TABLE rollout_application (
    application           TEXT NOT NULL,
    application_namespace TEXT NOT NULL,
    decision              TEXT NOT NULL REFERENCES rollout (decision),
    holds                 INTEGER NOT NULL,
    PRIMARY KEY (application, application_namespace, decision)
) STRICT, WITHOUT ROWID;

CREATE INDEX rollout_holding ON rollout_application (application, application_namespace) WHERE holds = 1;

-- Sources and revisions as Argo CD wrote them when it had carried the operation out; from them the same can be rolled
-- out again. Absent for what ended before this was kept.
ALTER TABLE deployment ADD COLUMN ran TEXT;

CREATE INDEX deployment_by_uid ON deployment (uid, seq);
