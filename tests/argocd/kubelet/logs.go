// Container logs: a line of a file per line of output, and the endpoint where kube-apiserver reads them.

package kubelet

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A containerLog holds lines "TIME STREAM TEXT", as container runtimes write them.
type containerLog struct {
	mu      sync.Mutex
	file    *os.File
	streams []*lineWriter
}

func (w *worker) logPath(container string) string {
	return filepath.Join(w.dir, "logs", container+".log")
}

func newLog(path string) (*containerLog, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	file, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	return &containerLog{file: file}, nil
}

// Close writes what the container left without a newline, too.
func (l *containerLog) Close() error {
	for _, w := range l.streams {
		if w.rest != "" {
			_, _ = w.Write([]byte("\n")) // the file is gone with the Pod: nobody to tell
		}
	}
	return l.file.Close()
}

// stream returns a writer that gives each line its time and the name of the stream.
func (l *containerLog) stream(name string) io.Writer {
	w := &lineWriter{log: l, stream: name}
	l.streams = append(l.streams, w)
	return w
}

type lineWriter struct {
	log    *containerLog
	stream string
	rest   string
}

// Write keeps what comes after the last newline for the next call.
func (w *lineWriter) Write(data []byte) (int, error) {
	w.log.mu.Lock()
	defer w.log.mu.Unlock()
	w.rest += string(data)
	for {
		line, rest, found := strings.Cut(w.rest, "\n")
		if !found {
			return len(data), nil
		}
		w.rest = rest
		if _, err := fmt.Fprintf(w.log.file, "%s %s %s\n", time.Now().UTC().Format(time.RFC3339Nano), w.stream, line); err != nil {
			return 0, err
		}
	}
}

// serve starts the endpoints /containerLogs/NAMESPACE/POD/CONTAINER and /portForward/NAMESPACE/POD, for clients with a
// certificate.
func (k *Kubelet) serve(ctx context.Context) error {
	authority, err := os.ReadFile(k.clientCA)
	if err != nil {
		return err
	}
	clients := x509.NewCertPool()
	if !clients.AppendCertsFromPEM(authority) {
		return errors.New("no certificate in " + k.clientCA)
	}
	listener, err := net.Listen("tcp", k.listen)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /containerLogs/{namespace}/{pod}/{container}", k.answerLogs)
	mux.HandleFunc("/portForward/{namespace}/{pod}", k.answerPortForward)
	server := &http.Server{
		Handler:   mux,
		TLSConfig: &tls.Config{ClientCAs: clients, ClientAuth: tls.RequireAndVerifyClientCert},
		// A connection that is upgraded to streams must be HTTP/1.1.
		TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){},
		BaseContext:  func(net.Listener) context.Context { return ctx },
	}
	go func() {
		err := server.ServeTLS(listener, k.cert, k.key)
		fmt.Fprintln(os.Stderr, "kubelet: serving ended:", err)
	}()
	return nil
}

func (k *Kubelet) answerLogs(answer http.ResponseWriter, request *http.Request) {
	w := k.find(request.PathValue("namespace"), request.PathValue("pod"))
	if w == nil {
		http.Error(answer, "the Pod has not run on this node", http.StatusNotFound)
		return
	}
	o, err := parseLogOptions(request.URL.Query())
	if err != nil {
		http.Error(answer, err.Error(), http.StatusBadRequest)
		return
	}
	file, err := os.Open(w.logPath(request.PathValue("container")))
	if err != nil {
		http.Error(answer, "the container has not started", http.StatusNotFound)
		return
	}
	defer file.Close()
	answer.Header().Set("Content-Type", "text/plain; charset=utf-8")
	// The status is sent; what fails now can only end the answer.
	_ = o.copy(request.Context(), answer, file, w.done)
}

// find returns the worker of a Pod that still exists.
func (k *Kubelet) find(namespace, name string) *worker {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, w := range k.pods {
		if w.pod != nil && w.pod.Namespace == namespace && w.pod.Name == name {
			return w
		}
	}
	return nil
}

// logOptions are those of PodLogOptions that make sense here.
type logOptions struct {
	follow, timestamps bool
	since              time.Time
	tail, limit        int64 // -1: all
	stream             string
}

func parseLogOptions(query url.Values) (logOptions, error) {
	o := logOptions{tail: -1, limit: -1}
	var errs []error
	boolean := func(name string) bool {
		value := query.Get(name)
		if value == "" {
			return false
		}
		parsed, err := strconv.ParseBool(value)
		errs = append(errs, err)
		return parsed
	}
	number := func(name string) int64 {
		value := query.Get(name)
		if value == "" {
			return -1
		}
		parsed, err := strconv.ParseInt(value, 10, 64)
		errs = append(errs, err)
		return parsed
	}
	o.follow, o.timestamps = boolean("follow"), boolean("timestamps")
	o.tail, o.limit = number("tailLines"), number("limitBytes")
	if seconds := number("sinceSeconds"); seconds >= 0 {
		o.since = time.Now().Add(-time.Duration(seconds) * time.Second)
	}
	if at := query.Get("sinceTime"); at != "" {
		parsed, err := time.Parse(time.RFC3339, at)
		errs = append(errs, err)
		o.since = parsed
	}
	if o.stream = strings.ToLower(query.Get("stream")); o.stream == "all" {
		o.stream = ""
	}
	if boolean("previous") {
		errs = append(errs, errors.New("containers of the rig are never restarted: there is no previous one"))
	}
	return o, errors.Join(errs...)
}

// copy writes the wanted lines; with follow, until the Pod has ended.
func (o logOptions) copy(ctx context.Context, to http.ResponseWriter, file io.Reader, ended <-chan struct{}) error {
	reader := bufio.NewReader(file)
	if o.tail >= 0 {
		// What is there now is cut to its last lines; what comes later is sent in full.
		lines, err := o.readAvailable(reader)
		if err != nil {
			return err
		}
		lines = lines[max(0, int64(len(lines))-o.tail):]
		if err := o.send(to, lines); err != nil {
			return err
		}
	}
	for {
		over := false
		select {
		case <-ended:
			over = true // and yet read once more: what was written last
		default:
		}
		lines, err := o.readAvailable(reader)
		if err != nil {
			return err
		}
		if err := o.send(to, lines); err != nil {
			return err
		}
		if !o.follow || over {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ended:
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// readAvailable reads the whole lines that are there. Lines are written whole, so none is torn.
func (o logOptions) readAvailable(reader *bufio.Reader) ([]string, error) {
	var lines []string
	for {
		line, err := reader.ReadString('\n')
		if errors.Is(err, io.EOF) {
			return lines, nil
		}
		if err != nil {
			return nil, err
		}
		if shown, ok := o.show(line); ok {
			lines = append(lines, shown)
		}
	}
}

// show turns a stored line into what was asked for, if it was asked for.
func (o logOptions) show(line string) (string, bool) {
	stamp, rest, _ := strings.Cut(line, " ")
	stream, text, _ := strings.Cut(rest, " ")
	if o.stream != "" && o.stream != stream {
		return "", false
	}
	if !o.since.IsZero() {
		if at, err := time.Parse(time.RFC3339Nano, stamp); err == nil && at.Before(o.since) {
			return "", false
		}
	}
	if o.timestamps {
		return stamp + " " + text, true
	}
	return text, true
}

func (o *logOptions) send(to http.ResponseWriter, lines []string) error {
	for _, line := range lines {
		if o.limit >= 0 {
			line = line[:min(int64(len(line)), o.limit)]
			o.limit -= int64(len(line))
		}
		if _, err := io.WriteString(to, line); err != nil {
			return err
		}
	}
	if flusher, ok := to.(http.Flusher); ok {
		flusher.Flush()
	}
	return nil
}
