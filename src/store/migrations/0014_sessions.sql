-- Sessions of the gate. `id` is the decision that began it; `caller` who signed in, with the roles of then,
-- which count no more; `refresh` the SHA-256 of the refresh token in force, if there is one. Times are in
-- milliseconds since 1970.
CREATE TABLE session (
    id      TEXT PRIMARY KEY,
    caller  TEXT NOT NULL,
    subject TEXT NOT NULL,
    issuer  TEXT NOT NULL,
    begun   INTEGER NOT NULL,
    ends    INTEGER NOT NULL,
    refresh BLOB,
    revoked TEXT
) STRICT, WITHOUT ROWID;

CREATE INDEX session_by_end ON session (ends);

-- Subjects and issuers whose credentials of before `before` count no more, and by whom, why and by which
-- decision that was said.
CREATE TABLE revocation (
    kind    TEXT NOT NULL CHECK (kind IN ('subject', 'issuer')),
    value   TEXT NOT NULL,
    before  INTEGER NOT NULL,
    revoked TEXT NOT NULL,
    PRIMARY KEY (kind, value)
) STRICT, WITHOUT ROWID;

-- Keys that sign the tokens of sessions (PKCS #8). The newest signs, those before verify what they signed.
CREATE TABLE session_key (
    id   TEXT PRIMARY KEY,
    key  BLOB NOT NULL,
    made INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What may be used once: identifiers of challenges and proofs, until they would have expired anyway.
CREATE TABLE spent (
    id    TEXT PRIMARY KEY,
    until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX spent_by_time ON spent (until);
