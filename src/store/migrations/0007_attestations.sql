-- The DSSE envelope that a run was finished with, byte for byte as its reporter sent it. One payload
-- finishes one run: else a pass could be handed in again for tests that nobody ran.
CREATE TABLE attestation (
    run            INTEGER PRIMARY KEY REFERENCES run (seq),
    payload_sha256 TEXT NOT NULL UNIQUE,
    envelope       TEXT NOT NULL
) STRICT;

CREATE TRIGGER attestation_never_changes BEFORE UPDATE ON attestation
BEGIN SELECT RAISE(ABORT, 'an attestation is never changed'); END;
CREATE TRIGGER attestation_never_goes BEFORE DELETE ON attestation
BEGIN SELECT RAISE(ABORT, 'an attestation is never deleted'); END;
