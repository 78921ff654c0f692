-- The log. `seq` is the index of the leaf in the Merkle tree: dense, from 0. `bytes` are the
-- canonical bytes, `leaf` is SHA-256(0x00 || bytes) (RFC 6962 section 2.1). The other columns
-- repeat what the bytes say, for queries; verification compares them.
CREATE TABLE entry (
    seq       INTEGER PRIMARY KEY CHECK (seq >= 0),
    decision  TEXT NOT NULL,
    kind      TEXT NOT NULL CHECK (kind IN ('open', 'close')),
    at        TEXT NOT NULL,
    operation TEXT,
    bytes     BLOB NOT NULL,
    leaf      BLOB NOT NULL CHECK (length(leaf) = 32),
    UNIQUE (decision, kind)
) STRICT;

CREATE INDEX entry_by_operation ON entry (operation, seq) WHERE kind = 'open';

CREATE TRIGGER entry_never_changes BEFORE UPDATE ON entry
BEGIN SELECT RAISE(ABORT, 'a log entry is never changed'); END;
CREATE TRIGGER entry_never_goes BEFORE DELETE ON entry
BEGIN SELECT RAISE(ABORT, 'a log entry is never deleted'); END;

-- Which openings are about which application. An empty namespace is Argo CD's own.
CREATE TABLE entry_application (
    name      TEXT NOT NULL,
    seq       INTEGER NOT NULL REFERENCES entry (seq),
    namespace TEXT NOT NULL,
    PRIMARY KEY (name, seq, namespace)
) STRICT, WITHOUT ROWID;

-- Openings without a closing, so that finding them does not read the whole log.
CREATE TABLE unclosed (
    decision TEXT PRIMARY KEY,
    seq      INTEGER NOT NULL REFERENCES entry (seq)
) STRICT, WITHOUT ROWID;

-- Test runs. `batches` is the number of stored batches of attempts.
CREATE TABLE run (
    seq                   INTEGER PRIMARY KEY AUTOINCREMENT,
    id                    TEXT NOT NULL UNIQUE,
    idempotency_key       TEXT,
    reporter              TEXT NOT NULL,
    decision              TEXT NOT NULL,
    application           TEXT NOT NULL,
    application_namespace TEXT NOT NULL,
    environment           TEXT NOT NULL,
    component             TEXT NOT NULL,
    suite                 TEXT NOT NULL,
    commits               TEXT NOT NULL,
    source_digest         TEXT,
    promotion_digest      TEXT,
    dirty                 INTEGER,
    collected             TEXT NOT NULL,
    tool                  TEXT NOT NULL,
    options               TEXT NOT NULL,
    operation             TEXT,
    started_at            TEXT NOT NULL,
    received_at           TEXT NOT NULL,
    counting              TEXT NOT NULL CHECK (counting IN ('counts', 'pending', 'void')),
    counting_reason       TEXT NOT NULL,
    batches               INTEGER NOT NULL DEFAULT 0,
    finish                TEXT
) STRICT;

CREATE UNIQUE INDEX run_by_key ON run (reporter, idempotency_key)
    WHERE idempotency_key IS NOT NULL;
CREATE INDEX run_by_target ON run (component, environment, suite, seq);
CREATE INDEX run_by_application ON run (application, seq);
CREATE INDEX run_by_environment ON run (environment, seq);
CREATE INDEX run_by_suite ON run (suite, seq);
CREATE INDEX run_pending ON run (seq) WHERE counting = 'pending';

CREATE TABLE run_commit (
    commit_id TEXT NOT NULL,
    run       INTEGER NOT NULL REFERENCES run (seq),
    PRIMARY KEY (commit_id, run)
) STRICT, WITHOUT ROWID;

CREATE TABLE attempt (
    run         INTEGER NOT NULL REFERENCES run (seq),
    batch       INTEGER NOT NULL,
    place       INTEGER NOT NULL,
    test        TEXT NOT NULL,
    attempt     INTEGER NOT NULL,
    outcome     TEXT NOT NULL,
    duration_ms INTEGER NOT NULL,
    started_at  TEXT NOT NULL,
    message     TEXT,
    worker      TEXT,
    UNIQUE (run, batch, place)
) STRICT;

-- What was permitted to roll out, per application, and how far it came.
CREATE TABLE deployment (
    seq                   INTEGER PRIMARY KEY AUTOINCREMENT,
    decision              TEXT NOT NULL,
    application           TEXT NOT NULL,
    application_namespace TEXT NOT NULL,
    uid                   TEXT NOT NULL,
    environment           TEXT NOT NULL,
    component             TEXT NOT NULL,
    commits               TEXT NOT NULL,
    source_digest         TEXT NOT NULL,
    started_at            TEXT,
    state                 TEXT NOT NULL
        CHECK (state IN ('permitted', 'running', 'succeeded', 'failed', 'lost')),
    UNIQUE (decision, application, application_namespace)
) STRICT;

CREATE INDEX deployment_by_target ON deployment (environment, component, seq);
CREATE INDEX deployment_pending ON deployment (seq) WHERE state IN ('permitted', 'running');
