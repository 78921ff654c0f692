-- How the hook Job ended that a run came from, as Argo CD said, and how far that is known: `none` (the run comes
-- from no hook), `awaited`, `heard` (it ended, or its end was lost), `weighed` (held against the report).
ALTER TABLE run ADD COLUMN hook TEXT;
ALTER TABLE run ADD COLUMN hook_state TEXT NOT NULL DEFAULT 'none'
    CHECK (hook_state IN ('none', 'awaited', 'heard', 'weighed'));
-- Where the two say different things, and which entry of the log tells so.
ALTER TABLE run ADD COLUMN disagreement TEXT;
CREATE INDEX run_by_hook_state ON run (hook_state, seq) WHERE hook_state IN ('awaited', 'heard');

-- Of the runs from before this step, those whose operation may still go on.
UPDATE run SET hook_state = 'awaited'
    WHERE json_extract(operation, '$.pod') IS NOT NULL AND (counting = 'pending' OR finish IS NULL);
