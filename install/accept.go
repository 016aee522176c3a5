package install

import (
	"context"
	"errors"
	"fmt"
	"net"
	"reflect"
	"slices"
	"time"

	"bundle/install/check"
	"bundle/install/engine"
	"bundle/install/plan"
)

// How an acceptance waits for what is only not ready yet.
const (
	acceptanceEvery = 5 * time.Second
	// acceptanceStall is how long it waits while nothing changes.
	acceptanceStall = 5 * time.Minute
	// acceptanceMargin is what it leaves of the step's time to report.
	acceptanceMargin = 5 * time.Second
	// portDials bounds connections to node ports at once.
	portDials = 8
)

// Expected is what the bundle and the plan promise.
func (s *Session) Expected() (check.Expected, error) {
	e := check.Expected{Cluster: s.job.Cluster.Name, AllowForeign: s.o.AllowForeign}
	for _, h := range s.job.Cluster.Hosts {
		e.Hosts = append(e.Hosts, check.Host{Address: h.Address, Roles: h.Roles})
	}
	rec, err := s.job.record(s.o.Signers)
	if err != nil {
		return e, err
	}
	e.Bundle, e.Releases, e.Images = rec.Bundle, rec.Releases, rec.Images
	return e, nil
}

// Accept holds the cluster against what is expected of it. With wait it looks
// again until all is well, nothing changes any more, or the time of ctx is
// nearly over. The error wraps [check.ErrFailed] where the report says no.
func (s *Session) Accept(ctx context.Context, e check.Expected, wait bool) (check.Report, error) {
	var (
		last  check.Report
		since = time.Now()
	)
	for first := true; ; first = false {
		r, err := s.look(ctx, e)
		if err != nil {
			return last, err
		}
		if first || !sameItems(last, r) {
			since = time.Now()
		}
		last = r
		err = r.Err()
		deadline, bounded := ctx.Deadline()
		if err == nil || !wait || time.Since(since) > acceptanceStall || bounded && time.Until(deadline) < acceptanceMargin+acceptanceEvery {
			return r, err
		}
		engine.Waiting(ctx, r.Summary())
		select {
		case <-ctx.Done():
			return r, context.Cause(ctx)
		case <-time.After(acceptanceEvery):
		}
	}
}

// sameItems tells whether two reports found the same.
func sameItems(a, b check.Report) bool {
	return slices.EqualFunc(a.Items, b.Items, func(x, y check.Item) bool { return reflect.DeepEqual(x, y) })
}

// look observes once.
func (s *Session) look(ctx context.Context, e check.Expected) (check.Report, error) {
	c, err := s.cluster(ctx)
	if err != nil {
		return check.Report{}, err
	}
	seen, err := c.Observe(ctx)
	if err != nil {
		return check.Report{}, err
	}
	state := check.State{State: seen, Registries: s.pullSamples(ctx)}
	m, err := s.master0(ctx)
	if err != nil {
		return check.Report{}, err
	}
	var hosts []string
	for _, h := range e.Hosts {
		hosts = append(hosts, h.Address)
	}
	state.Ports = check.DialNodePorts(ctx, m.DialContext, hosts, seen.Services, portDials)
	if err := ctx.Err(); err != nil {
		return check.Report{}, err
	}
	e.Time = time.Now()
	return check.Judge(e, state), nil
}

// pullSamples asks the registry of every master for one image; nil where the
// bundle has none.
func (s *Session) pullSamples(ctx context.Context) []check.RegistryAnswer {
	rec, err := s.job.record(nil)
	if err != nil || rec.Sample.Name == "" {
		return nil
	}
	name := s.job.Cluster.Registry.URL()
	var out []check.RegistryAnswer
	for _, m := range plan.Servers(s.job.Cluster) {
		answer := check.RegistryAnswer{Host: m, Name: name, Image: rec.Sample.Name}
		conf, err := s.registryTLS(ctx)
		if err != nil {
			answer.Err = err.Error()
			out = append(out, answer)
			continue
		}
		h, err := s.hosts.Get(ctx, m)
		if err != nil {
			answer.Err = err.Error()
			out = append(out, answer)
			continue
		}
		user, password, _, _ := s.credentials(ctx)
		dial := func(ctx context.Context, network, _ string) (net.Conn, error) {
			return h.DialContext(ctx, network, fmt.Sprintf("127.0.0.1:%d", s.job.Cluster.Registry.Port))
		}
		out = append(out, check.PullSample(ctx, check.Pull{
			Host: m, Name: name, TLS: conf, Username: user, Password: password.Reveal(), Dial: dial, Image: rec.Sample,
		}))
	}
	return out
}

// errNoBundle is a job that was made of a record and not of a bundle.
var errNoBundle = errors.New("the bundle is not at hand")

// record is what acceptance needs to know of the bundle.
func (j *Job) record(signers []string) (*Record, error) {
	if j.known != nil {
		return j.known, nil
	}
	if j.Bundle == nil {
		return nil, errNoBundle
	}
	rec := &Record{Schema: recordSchema, Releases: check.ReleasesOf(j.Plan.Steps), Env: j.Bundle.Contents.Env}
	rec.Bundle = check.Bundle{
		Name: j.Bundle.Contents.Name, Version: j.Bundle.Contents.Version,
		IndexDigest: j.Bundle.IndexDigest.String(), Signers: signers,
	}
	for _, b := range j.Bundles {
		more, err := check.ImagesOf(b.Reader)
		if err != nil {
			return nil, err
		}
		if rec.Images == nil {
			rec.Images = more
			continue
		}
		for d, name := range more {
			rec.Images[d] = name
		}
	}
	if sample, ok := check.SampleOf(j.Bundle.Contents); ok {
		rec.Sample = sample
	}
	for _, s := range j.Plan.Steps {
		rec.Steps = append(rec.Steps, RecordStep{ID: s.ID, Kind: s.Kind, Summary: s.Summary, Source: s.Source})
	}
	rec.Clean = saved(j.Clean)
	j.known = rec
	return rec, nil
}

// saved keeps the parts of a plan's steps that its JSON form leaves out.
func saved(p *plan.Plan) *savedPlan {
	s := &savedPlan{Plan: p}
	for _, step := range p.Steps {
		s.Scripts = append(s.Scripts, savedScript{step.Script, step.Dir})
	}
	return s
}
