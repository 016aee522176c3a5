package serve

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry/handlers"
	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/distribution/v3/registry/storage/driver/filesystem"
	"github.com/opencontainers/go-digest"
)

const (
	readHeaderTimeout = 10 * time.Second
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 64 << 10
	// catalogMax is how many repositories one answer of the catalog may hold.
	catalogMax = 10000
	// overlayThreads bounds the file operations under way in the overlay.
	overlayThreads = 100
)

// Server is a registry over bundles.
type Server struct {
	options  Options
	catalog  *catalog
	store    *store
	driver   *bundleDriver
	app      *handlers.App
	handler  http.Handler
	status   *status
	warnings []string
	cancel   context.CancelFunc
}

// New makes a server of one or several bundles. Nothing but their indexes is
// read. Where several bundles give one name to the same content it is served
// once; where they give it to different content the error wraps [ErrConflict]
// and names both. Other errors wrap [ErrIndex] or [ErrOptions].
func New(bundles []Bundle, o Options) (*Server, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	c, warnings, err := newCatalog(bundles)
	if err != nil {
		return nil, err
	}
	s := &Server{options: o, catalog: c, warnings: warnings}
	for _, w := range warnings {
		o.Logger.Warn(w)
	}
	s.store = newStore(bundles, s.damage)
	s.driver = &bundleDriver{lower: &tree{catalog: c, store: s.store, started: time.Now(), onProblem: s.problem}}
	ctx, cancel := context.WithCancel(context.Background())
	if o.Writable != "" {
		s.driver.upper = filesystem.New(filesystem.DriverParameters{RootDirectory: o.Writable, MaxThreads: overlayThreads})
		if s.driver.gone, err = openOverlay(ctx, s.driver.upper); err != nil {
			cancel()
			return nil, fmt.Errorf("%w: the overlay in %s: %w", ErrOptions, o.Writable, err)
		}
	}
	entry := newLogEntry(o.Logger)
	if s.app, err = newApp(logContext{ctx, entry}, s.driver); err != nil {
		cancel()
		return nil, err
	}
	s.cancel = cancel
	auth, err := newAuth(o.Htpasswd, o.Realm, entry)
	if err != nil {
		cancel()
		return nil, err
	}
	s.status = newStatus(s)
	s.handler = newHandler(s, auth, entry)
	return s, nil
}

// openOverlay checks that the overlay can be written and reads its marks.
func openOverlay(ctx context.Context, upper storagedriver.StorageDriver) (*whiteouts, error) {
	if err := upper.PutContent(ctx, overlayFormat, []byte("1\n")); err != nil {
		return nil, err
	}
	return loadWhiteouts(ctx, upper)
}

// newApp configures the distribution project's registry. It reports a
// configuration that it does not like by panicking.
func newApp(ctx context.Context, d *bundleDriver) (app *handlers.App, err error) {
	defer func() {
		if p := recover(); p != nil {
			app, err = nil, fmt.Errorf("%w: %v", ErrOptions, p)
		}
	}()
	writable := d.upper != nil
	cfg := &configuration.Configuration{
		Version: configuration.CurrentVersion,
		Storage: configuration.Storage{
			driverName: configuration.Parameters{driverParameter: d},
			"delete":   configuration.Parameters{"enabled": writable},
			"redirect": configuration.Parameters{"disable": true},
		},
	}
	if !writable {
		cfg.Storage["maintenance"] = configuration.Parameters{
			"uploadpurging": map[any]any{"enabled": false},
			"readonly":      map[any]any{"enabled": true},
		}
	}
	cfg.HTTP.RelativeURLs = true
	cfg.HTTP.Secret = rand.Text()
	cfg.Catalog.MaxEntries = catalogMax
	// An image of which only some platforms were taken along keeps its index,
	// so an index must be accepted without all of its children.
	cfg.Validation.Manifests.Indexes.Platforms = "none"
	// Layers that may not be distributed lie elsewhere; the specification
	// wants manifests that name them taken.
	cfg.Validation.Manifests.URLs.Allow = []string{"^https?://"}
	return handlers.NewApp(ctx, cfg), nil
}

// Handler answers the registry's requests, and those for /metrics and /healthz
// unless Options.NoStatus is set. It does not do TLS.
func (s *Server) Handler() http.Handler { return s.handler }

// Metrics answers with the server's numbers in Prometheus' text format.
func (s *Server) Metrics() http.Handler { return s.status.metrics }

// Health answers 200 while every bundle can be read, and 503 with the reason
// otherwise.
func (s *Server) Health() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.status.health(w, r, true) })
}

// Problems tells which bundles cannot be read now, and why; empty where all is
// well.
func (s *Server) Problems(ctx context.Context) map[string]string { return s.status.problems(ctx) }

// Driver is the distribution project's view of the bundles and the overlay.
func (s *Server) Driver() storagedriver.StorageDriver { return s.driver }

// Warnings are what a user should know but need not act on: names that answer
// only with their registry, for one. Sorted.
func (s *Server) Warnings() []string { return slices.Clone(s.warnings) }

// Repositories are the names that the bundles answer to, with and without
// their registry. Sorted.
func (s *Server) Repositories() []string { return slices.Clone(s.catalog.names) }

// Serve answers on ln until ctx is cancelled, then lets transfers under way
// finish for Options.Grace. It closes ln and the server, and returns nil when
// it ended because of ctx.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	defer s.Close()
	hs := &http.Server{
		Handler:           s.handler,
		TLSConfig:         s.options.TLS,
		ReadHeaderTimeout: readHeaderTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(s.options.Logger.Handler(), slog.LevelDebug),
	}
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		grace, cancel := context.WithTimeout(context.Background(), s.options.Grace)
		defer cancel()
		if hs.Shutdown(grace) != nil {
			// What is still under way is cut; its clients can resume.
			_ = hs.Close()
		}
	})
	var err error
	if s.options.TLS != nil {
		err = hs.ServeTLS(ln, "", "")
	} else {
		err = hs.Serve(ln)
	}
	if !stop() {
		<-stopped
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("the registry on %s stopped: %w", ln.Addr(), err)
}

// Close ends the work that the server does in the background. A server that
// was served with [Server.Serve] is closed already.
func (s *Server) Close() error {
	s.cancel()
	return s.app.Shutdown()
}

func (s *Server) damage(bundle string, d digest.Digest, err error) {
	s.options.Logger.Error("blob is damaged", "bundle", bundle, "digest", d.String(), "error", err)
	if s.options.OnDamage != nil {
		s.options.OnDamage(bundle, d, err)
	}
}

func (s *Server) problem(err error) {
	s.options.Logger.Warn("manifest cannot be read, its blobs do not answer", "error", err)
}
