package serve

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/distribution/distribution/v3/health"
	"github.com/distribution/distribution/v3/registry/api/errcode"
	"github.com/opencontainers/go-digest"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// healthTimeout bounds one look at whether the bundles can be read.
const healthTimeout = 5 * time.Second

// status is what an operator sees from outside: numbers, health and a line of
// log for every request.
type status struct {
	metrics  http.Handler
	checks   *health.Registry
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	bytes    prometheus.Counter
	inFlight prometheus.Gauge
}

// newStatus makes the server's own set of numbers; a second server in the
// process does not get in its way. The distribution project's storage numbers,
// which are of the whole process, are shown beside them.
func newStatus(s *Server) *status {
	reg := prometheus.NewRegistry()
	st := &status{
		checks: health.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "bundle_registry_requests_total", Help: "Requests answered, by kind, method and status code.",
		}, []string{"kind", "method", "code"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "bundle_registry_request_duration_seconds", Help: "Time to answer a request, body included.",
			Buckets: []float64{.001, .005, .025, .1, .5, 2.5, 10, 60},
		}, []string{"kind"}),
		bytes:    prometheus.NewCounter(prometheus.CounterOpts{Name: "bundle_registry_sent_bytes_total", Help: "Bytes of bodies sent."}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{Name: "bundle_registry_requests_in_flight", Help: "Requests being answered."}),
	}
	reg.MustRegister(st.requests, st.seconds, st.bytes, st.inFlight,
		prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "bundle_registry_blobs_verified_total", Help: "Blobs whose SHA-256 was computed and right."},
			func() float64 { return float64(s.store.verified.Load()) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "bundle_registry_damage_total", Help: "Times that bytes of a bundle were not what their digest says."},
			func() float64 { return float64(s.store.damaged.Load()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "bundle_registry_repositories", Help: "Names that the bundles answer to."},
			func() float64 { return float64(len(s.catalog.names)) }),
	)
	st.metrics = promhttp.HandlerFor(prometheus.Gatherers{reg, prometheus.DefaultGatherer}, promhttp.HandlerOpts{})
	for _, b := range s.store.bundles {
		st.checks.RegisterFunc(b.Name, func(context.Context) error { return readable(b.Content) })
	}
	if upper := s.driver.upper; upper != nil {
		st.checks.RegisterFunc("overlay", func(ctx context.Context) error {
			_, err := upper.Stat(ctx, "/")
			return err
		})
	}
	return st
}

// readable reads one byte of a bundle: the file may have been on a medium
// that is gone.
func readable(c Content) error {
	for _, desc := range c.Index().Manifests {
		n, ok := c.Size(desc.Digest)
		if !ok || n == 0 || desc.Digest.Algorithm() != digest.SHA256 {
			continue
		}
		b, err := c.Open(desc.Digest)
		if err != nil {
			return err
		}
		if _, err = b.ReadAt(make([]byte, 1), 0); err == io.EOF {
			err = nil
		}
		return err
	}
	return nil
}

// problems are the checks that do not pass now, by name.
func (st *status) problems(ctx context.Context) map[string]string {
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	return st.checks.CheckStatus(ctx)
}

// health tells whether all checks pass, and those who may come in also which
// do not: that names bundles and files.
func (st *status) health(w http.ResponseWriter, r *http.Request, known bool) {
	answer := struct {
		Status   string            `json:"status"`
		Problems map[string]string `json:"problems,omitempty"`
	}{Status: "ok", Problems: st.problems(r.Context())}
	w.Header().Set("Content-Type", "application/json")
	if len(answer.Problems) > 0 {
		answer.Status = "unavailable"
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	if !known {
		answer.Problems = nil
	}
	_ = json.NewEncoder(w).Encode(answer) // the client is gone, or not
}

// observe counts and logs every request and keeps stalled clients from
// holding a connection.
func (st *status) observe(next http.Handler, o Options) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		kind := kindName(r.URL.Path)
		rec := &recorder{ResponseWriter: w, control: http.NewResponseController(w), stall: o.Stall}
		rec.extend()
		if r.Body != nil && r.Body != http.NoBody {
			r.Body = &stallBody{ReadCloser: r.Body, control: rec.control, stall: o.Stall}
		}
		st.inFlight.Inc()
		defer func() {
			p := recover()
			if p != nil && p != http.ErrAbortHandler {
				// The distribution project trips over some malformed manifests.
				o.Logger.Error("the request could not be answered", "uri", r.URL.RequestURI(), "panic", fmt.Sprint(p))
				if rec.status == 0 {
					fail(rec, errcode.ErrorCodeUnknown)
					p = nil
				}
			}
			st.inFlight.Dec()
			st.requests.WithLabelValues(kind, methodName(r.Method), strconv.Itoa(rec.code())).Inc()
			st.seconds.WithLabelValues(kind).Observe(time.Since(start).Seconds())
			st.bytes.Add(float64(rec.written))
			attrs := []slog.Attr{
				slog.String("method", r.Method), slog.String("uri", r.URL.RequestURI()),
				slog.Int("status", rec.code()), slog.Int64("bytes", rec.written),
				slog.Duration("duration", time.Since(start)), slog.String("remote", r.RemoteAddr),
				slog.String("agent", r.UserAgent()),
			}
			if p != nil {
				attrs = append(attrs, slog.Bool("cut", true))
			}
			o.Logger.LogAttrs(r.Context(), slog.LevelInfo, "request", attrs...)
			rec.extend() // for what is still in the connection's buffer
			if p != nil {
				panic(http.ErrAbortHandler)
			}
		}()
		next.ServeHTTP(rec, r)
	})
}

// kindName is a label of few values whatever clients ask for.
func kindName(p string) string {
	switch parseTarget(p).kind {
	case targetManifest:
		return "manifest"
	case targetBlob:
		return "blob"
	case targetUpload:
		return "upload"
	case targetTags:
		return "tags"
	case targetReferrers:
		return "referrers"
	}
	return "other"
}

func methodName(m string) string {
	switch m {
	case http.MethodGet, http.MethodHead, http.MethodPut, http.MethodPost, http.MethodPatch, http.MethodDelete:
		return m
	}
	return "other"
}

// recorder notes what was answered and gives every write its time.
type recorder struct {
	http.ResponseWriter
	control *http.ResponseController
	stall   time.Duration
	status  int
	written int64
}

// extend lets the client take its time anew. Writers that know no deadlines,
// as in tests, do without.
func (w *recorder) extend() { _ = w.control.SetWriteDeadline(time.Now().Add(w.stall)) }

func (w *recorder) WriteHeader(status int) {
	if w.status == 0 && status >= 200 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	w.extend()
	n, err := w.ResponseWriter.Write(p)
	w.written += int64(n)
	return n, err
}

// Unwrap is for [http.ResponseController].
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *recorder) code() int {
	if w.status == 0 {
		return http.StatusOK
	}
	return w.status
}

// stallBody gives a client so long to send the next bytes of a body.
type stallBody struct {
	io.ReadCloser
	control *http.ResponseController
	stall   time.Duration
}

func (b *stallBody) Read(p []byte) (int, error) {
	_ = b.control.SetReadDeadline(time.Now().Add(b.stall))
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		// From here on the connection is only watched for its end, and that
		// may take as long as the answer does.
		_ = b.control.SetReadDeadline(time.Time{})
	}
	return n, err
}
