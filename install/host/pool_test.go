package host

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"bundle/manifest/cluster"
)

func hosts(n int) []Host {
	var list []Host
	for i := range n {
		list = append(list, named{name: fmt.Sprintf("10.0.0.%d", i+1)})
	}
	return list
}

func TestEveryHostFinishesThoughOthersFail(t *testing.T) {
	var ran atomic.Int32
	wrong := errors.New("disk full")
	err := Each(t.Context(), hosts(9), 3, func(_ context.Context, h Host) error {
		ran.Add(1)
		switch h.Name() {
		case "10.0.0.2":
			return &Error{Host: h.Name(), Class: ErrFile, Reason: "is full", Next: "free some space", Err: wrong}
		case "10.0.0.4":
			return &Error{Host: h.Name(), Class: ErrFile, Reason: "is full", Next: "free some space"}
		case "10.0.0.9":
			return errors.New("something\nelse")
		}
		return nil
	})
	if ran.Load() != 9 {
		t.Errorf("%d hosts ran", ran.Load())
	}
	want := "3 of 9 hosts failed:\n  10.0.0.2 is full\n  10.0.0.4 is full\n  10.0.0.9: something else"
	if err == nil || err.Error() != want {
		t.Errorf("got %q, want %q", err, want)
	}
	var all *Errors
	if !errors.As(err, &all) || all.Hint() != "free some space" || all.Object() != "" || !errors.Is(err, wrong) || !errors.Is(err, ErrFile) {
		t.Errorf("got %#v", err)
	}
}

func TestOneFailureIsOneSentence(t *testing.T) {
	err := Each(t.Context(), hosts(3), 0, func(_ context.Context, h Host) error {
		if h.Name() == "10.0.0.3" {
			return errors.New("the clock is wrong")
		}
		return nil
	})
	var all *Errors
	if !errors.As(err, &all) || err.Error() != "10.0.0.3: the clock is wrong" || all.Object() != "10.0.0.3" || all.Hint() != "" {
		t.Errorf("got %q", err)
	}
	if err := Each(t.Context(), nil, 0, nil); err != nil {
		t.Errorf("no hosts give %v", err)
	}
}

func TestNoMoreHostsAtOnceThanAllowed(t *testing.T) {
	var now, most atomic.Int32
	gate := make(chan struct{})
	err := Each(t.Context(), hosts(8), 2, func(context.Context, Host) error {
		if n := now.Add(1); n > most.Load() {
			most.Store(n)
		}
		// The second of two lets both go.
		select {
		case gate <- struct{}{}:
		case <-gate:
		}
		now.Add(-1)
		return nil
	})
	if err != nil || most.Load() != 2 {
		t.Errorf("%d at once: %v", most.Load(), err)
	}
}

func TestHostsThatWaitAreNotBegunAfterAStop(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("interrupt")
	err := Each(ctx, hosts(3), 1, func(ctx context.Context, h Host) error {
		cancel(stop)
		return fmt.Errorf("stopped: %w", context.Cause(ctx))
	})
	want := "1 of 3 hosts failed:\n  10.0.0.1: stopped: interrupt\n  not begun because it was stopped (interrupt): 10.0.0.2, 10.0.0.3"
	if err == nil || err.Error() != want || !errors.Is(err, stop) {
		t.Errorf("got %q, want %q", err, want)
	}
	err = Each(ctx, hosts(2), 1, nil)
	if err == nil || err.Error() != "not begun because it was stopped (interrupt): 10.0.0.1, 10.0.0.2" {
		t.Errorf("got %q", err)
	}
}

func TestSetConnectsOnceAndKeepsIt(t *testing.T) {
	s := newServer(t)
	target := s.start()
	c := &cluster.Cluster{Hosts: []cluster.Host{
		{Address: "127.0.0.1", SSH: cluster.SSH{User: "root", Port: target.Port, Password: target.Password}},
		{Address: "127.0.0.2", SSH: cluster.SSH{Port: 22, Password: secret}},
		{Address: "::1", SSH: cluster.SSH{Port: 1, Password: secret}},
	}}
	set := NewSet(c, options(t))
	if s.count() != 0 {
		t.Error("it connected before it was asked")
	}
	list, err := set.All(t.Context(), []string{"127.0.0.2", "127.0.0.1", "127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	if s.count() != 1 || list[1] != list[2] || list[0].Name() != "127.0.0.2" {
		t.Errorf("%d connections for %v", s.count(), list)
	}
	if list[1].Local() || !list[0].Local() {
		t.Error("a loopback address with another port is another machine, without one it is this")
	}
	if got := output(t, list[1], "echo there"); got != "there\n" {
		t.Errorf("got %q", got)
	}
	if got := set.Redactor().String("x " + secret.Reveal()); got != "x [secret]" {
		t.Errorf("got %q", got)
	}
	if _, err := set.Get(t.Context(), "10.9.9.9"); !errors.Is(err, ErrCommand) {
		t.Errorf("a host of another cluster gives %v", err)
	}
	var all *Errors
	_, err = set.All(t.Context(), []string{"127.0.0.1", "::1"})
	if !errors.As(err, &all) || len(all.List) != 1 || !errors.Is(err, ErrConnection) || !strings.HasPrefix(err.Error(), "::1 ") {
		t.Errorf("a host that is down gives %v", err)
	}
	if err := set.Close(); err != nil {
		t.Error(err)
	}
	for _, h := range list {
		if err := h.Run(t.Context(), Command{}); !errors.Is(err, ErrClosed) {
			t.Errorf("a closed host gives %v", err)
		}
	}
	if _, err := set.Get(t.Context(), "127.0.0.1"); !errors.Is(err, ErrClosed) {
		t.Errorf("a closed set gives %v", err)
	}
}

func TestSetGoesOverSSHToThisMachineIfAsked(t *testing.T) {
	s := newServer(t)
	target := s.start()
	o := options(t)
	o.Remote = true
	set := NewSet(&cluster.Cluster{Hosts: []cluster.Host{{Address: target.Address, SSH: cluster.SSH{Port: target.Port, Password: target.Password}}}}, o)
	defer set.Close()
	h, err := set.Get(t.Context(), target.Address)
	if err != nil || h.Local() {
		t.Errorf("got %v, %v", h, err)
	}
}

func TestIsLocal(t *testing.T) {
	for addr, want := range map[string]bool{
		"127.0.0.1": true, "127.9.9.9": true, "::1": true, "[::1]": true, "::ffff:127.0.0.1": true, "localhost": true,
		"192.0.2.1": false, "2001:db8::1": false, "example.org": false, "": false, "127.0.0.1:22": false,
	} {
		if IsLocal(addr) != want {
			t.Errorf("%q is this machine: %v", addr, !want)
		}
	}
}
