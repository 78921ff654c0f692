-- The order in which runs spoke. Whatever a reporter says takes the next number, so that no clock
-- decides which word is the last. A run that the gate ended keeps the number of what was heard last.
ALTER TABLE run ADD COLUMN spoke INTEGER NOT NULL DEFAULT 0;
UPDATE run SET spoke = ranked.place
    FROM (SELECT seq, row_number() OVER (ORDER BY coalesce(json_extract(finish, '$.decision'), id))
              AS place FROM run) AS ranked
    WHERE ranked.seq = run.seq;
CREATE UNIQUE INDEX run_by_spoke ON run (spoke);

-- Who took a run back, when, why and by which decision. It stays.
ALTER TABLE run ADD COLUMN withdrawal TEXT;
CREATE TRIGGER withdrawal_stays BEFORE UPDATE ON run
WHEN OLD.withdrawal IS NOT NULL AND NEW.withdrawal IS NOT OLD.withdrawal
BEGIN SELECT RAISE(ABORT, 'a withdrawal is never changed'); END;

-- By what the attempts of a finished run are known again. Runs from before this step are not known.
ALTER TABLE run ADD COLUMN attempts_digest TEXT;
CREATE INDEX run_by_attempts ON run (attempts_digest) WHERE attempts_digest IS NOT NULL;
