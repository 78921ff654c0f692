-- Writes that Argo CD is about to make because of a decision, for the minute in which they are
-- recognised. `at` is in milliseconds since 1970. Without a uid, the write creates the object.
CREATE TABLE intent (
    seq       INTEGER PRIMARY KEY,
    decision  TEXT NOT NULL,
    namespace TEXT NOT NULL CHECK (namespace <> ''),
    name      TEXT NOT NULL,
    uid       TEXT,
    digest    TEXT NOT NULL,
    at        INTEGER NOT NULL
) STRICT;

CREATE INDEX intent_by_write ON intent (namespace, name, digest, at);
CREATE INDEX intent_by_time ON intent (at);
