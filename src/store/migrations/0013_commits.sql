-- Which openings are about which commits: what they plan, and what is said of the request.
CREATE TABLE entry_commit (
    commit_id TEXT NOT NULL,
    seq       INTEGER NOT NULL REFERENCES entry (seq),
    PRIMARY KEY (commit_id, seq)
) STRICT, WITHOUT ROWID;

INSERT OR IGNORE INTO entry_commit (commit_id, seq)
SELECT named.value, entry.seq
FROM entry, json_tree(CAST(entry.bytes AS TEXT)) AS named
WHERE entry.kind = 'open' AND named.type = 'text'
  AND (named.fullkey LIKE '$.planned%' OR named.fullkey LIKE '$.request%')
  AND length(named.value) = 40 AND named.value NOT GLOB '*[^0-9a-f]*';
