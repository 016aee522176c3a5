package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// slowLink is a long way to a registry: every connection has so much latency
// and so much bandwidth of its own, as with one far away that serves each
// connection at its own pace.
type slowLink struct {
	listener net.Listener
	to       string
	trip     time.Duration // there and back
	rate     float64       // bytes a second of one connection, each way
	wg       sync.WaitGroup
	cancel   context.CancelFunc
}

func newSlowLink(to string, trip time.Duration, rate float64) (*slowLink, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &slowLink{listener: l, to: to, trip: trip, rate: rate, cancel: cancel}
	s.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.wg.Go(func() { s.carry(ctx, c) })
		}
	})
	return s, nil
}

func (s *slowLink) addr() string { return s.listener.Addr().String() }

// close cuts all connections and waits until they are gone.
func (s *slowLink) close() {
	s.cancel()
	_ = s.listener.Close()
	s.wg.Wait()
}

// carry serves one connection. Loopback took no time to connect, so the round
// trip of that is waited for here.
func (s *slowLink) carry(ctx context.Context, near net.Conn) {
	defer func() { _ = near.Close() }()
	far, err := net.Dial("tcp", s.to)
	if err != nil {
		return
	}
	defer func() { _ = far.Close() }()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		<-ctx.Done()
		_ = near.Close()
		_ = far.Close()
	}()
	select {
	case <-time.After(s.trip):
	case <-ctx.Done():
		return
	}
	var both sync.WaitGroup
	both.Go(func() { s.direction(far, near) })
	both.Go(func() { s.direction(near, far) })
	both.Wait()
}

// piece is data on its way.
type piece struct {
	data []byte
	due  time.Time
}

// direction moves what comes in to the other side at the link's rate, half a
// round trip later. What is on its way is bounded by what the link holds.
func (s *slowLink) direction(to, from net.Conn) {
	const size = 64 << 10
	inFlight := 4 + 2*int(s.rate*s.trip.Seconds()/size)
	way := make(chan piece, inFlight)
	free := make(chan []byte, inFlight+2)
	go func() {
		defer close(way)
		var clear time.Time // when the link has taken all before
		for {
			var buf []byte
			select {
			case buf = <-free:
			default:
				buf = make([]byte, size)
			}
			n, err := from.Read(buf[:size])
			if n > 0 {
				if now := time.Now(); clear.Before(now) {
					clear = now
				}
				clear = clear.Add(time.Duration(float64(n) / s.rate * float64(time.Second)))
				way <- piece{buf[:n], clear.Add(s.trip / 2)}
			}
			if err != nil {
				return
			}
		}
	}()
	for p := range way {
		time.Sleep(time.Until(p.due))
		if _, err := to.Write(p.data); err != nil {
			_ = from.Close()
			for range way {
			}
			return
		}
		select {
		case free <- p.data[:cap(p.data)]:
		default:
		}
	}
	if t, ok := to.(*net.TCPConn); ok {
		_ = t.CloseWrite()
	}
}

// check makes sure that the link does to one connection what it promises.
func (s *slowLink) check() error {
	sink, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer func() { _ = sink.Close() }()
	const n = 8 << 20
	go func() {
		c, err := sink.Accept()
		if err != nil {
			return
		}
		_, _ = io.CopyN(c, zeros{}, n)
		_ = c.Close()
	}()
	through, err := newSlowLink(sink.Addr().String(), s.trip, s.rate)
	if err != nil {
		return err
	}
	defer through.close()
	start := time.Now()
	c, err := net.Dial("tcp", through.addr())
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	got, err := io.Copy(io.Discard, c)
	if err != nil || got != n {
		return errors.Join(err, fmt.Errorf("%d of %d bytes came through the link", got, n))
	}
	// A loaded machine may make it slower, never faster.
	least := s.trip + s.trip/2 + time.Duration(n/s.rate*float64(time.Second)) - 10*time.Millisecond
	if took := time.Since(start); took < least {
		return fmt.Errorf("%d bytes took %s through the link, less than the %s that it promises", n, took, least)
	}
	return nil
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
