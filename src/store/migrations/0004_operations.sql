-- When this store first followed the operations of Argo CD: what began before is nobody's to explain.
CREATE TABLE operation_watch (
    id       INTEGER PRIMARY KEY CHECK (id = 1),
    began_at TEXT NOT NULL
) STRICT;

-- The Application objects that were looked at, and the newest operation of each that was judged.
CREATE TABLE watched_application (
    uid             TEXT PRIMARY KEY,
    last_started_at TEXT
) STRICT, WITHOUT ROWID;

-- Operations that Argo CD runs or ran, each judged once. `explained_by` is the decision that permitted
-- it; `alarm` is the entry of the log that says that none did.
CREATE TABLE operation_seen (
    uid                   TEXT NOT NULL,
    started_at            TEXT NOT NULL,
    application           TEXT NOT NULL,
    application_namespace TEXT NOT NULL,
    commits               TEXT NOT NULL,
    initiated_by          TEXT NOT NULL,
    judgement             TEXT NOT NULL
        CHECK (judgement IN ('baseline', 'dry-run', 'explained', 'unexplained')),
    explained_by          TEXT,
    alarm                 TEXT,
    reconstructed         INTEGER NOT NULL CHECK (reconstructed IN (0, 1)),
    judged_at             TEXT NOT NULL,
    PRIMARY KEY (uid, started_at)
) STRICT, WITHOUT ROWID;

-- One decision permits one operation of an application: looked up before it explains another.
CREATE INDEX operation_by_decision ON operation_seen (explained_by, uid)
    WHERE explained_by IS NOT NULL;

-- Messages to receivers, until each has taken its own or is given up. A message is stored together
-- with what it tells.
CREATE TABLE notice (
    seq      INTEGER PRIMARY KEY AUTOINCREMENT,
    receiver TEXT NOT NULL,
    event    TEXT NOT NULL,
    body     TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    due_at   TEXT NOT NULL
) STRICT;

CREATE INDEX notice_by_due ON notice (due_at, seq);
