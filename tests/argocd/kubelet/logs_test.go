package kubelet

import (
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestLogsAreCutAsAskedFor(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.log")
	lines := "2026-01-01T00:00:01Z stdout one\n2026-01-01T00:00:02Z stderr two\n2026-01-01T00:00:03Z stdout three\n"
	if err := os.WriteFile(path, []byte(lines), 0o600); err != nil {
		t.Fatal(err)
	}
	for query, want := range map[string]string{
		"":                                "one\ntwo\nthree\n",
		"tailLines=2":                     "two\nthree\n",
		"tailLines=0":                     "",
		"tailLines=9":                     "one\ntwo\nthree\n",
		"stream=Stderr":                   "two\n",
		"stream=All":                      "one\ntwo\nthree\n",
		"limitBytes=6":                    "one\ntw",
		"sinceTime=2026-01-01T00:00:02Z":  "two\nthree\n",
		"sinceSeconds=1":                  "",
		"timestamps=true&tailLines=1":     "2026-01-01T00:00:03Z three\n",
		"follow=true&container=c&pretty=": "one\ntwo\nthree\n",
	} {
		values, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		o, err := parseLogOptions(values)
		if err != nil {
			t.Fatalf("%s: %v", query, err)
		}
		file, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		answer := httptest.NewRecorder()
		if err := o.copy(t.Context(), answer, file, finishedWorker().done); err != nil {
			t.Fatalf("%s: %v", query, err)
		}
		if got := answer.Body.String(); got != want {
			t.Errorf("%s: got %q, want %q", query, got, want)
		}
	}
}

func TestBadLogOptionsAreRefused(t *testing.T) {
	for _, query := range []string{"tailLines=x", "follow=maybe", "sinceTime=yesterday", "previous=true"} {
		values, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parseLogOptions(values); err == nil {
			t.Errorf("%s was accepted", query)
		}
	}
}

func TestFollowSeesWhatIsWrittenLater(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.log")
	log, err := newLog(path)
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	ended := make(chan struct{})
	go func() {
		stdout := log.stream("stdout")
		for _, text := range []string{"first\nsec", "ond\n", "no newline"} {
			if _, err := stdout.Write([]byte(text)); err != nil {
				t.Error(err)
			}
			time.Sleep(150 * time.Millisecond)
		}
		log.Close()
		close(ended)
	}()
	answer := httptest.NewRecorder()
	o := logOptions{follow: true, tail: -1, limit: -1}
	if err := o.copy(t.Context(), answer, file, ended); err != nil {
		t.Fatal(err)
	}
	if got, want := answer.Body.String(), "first\nsecond\nno newline\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
