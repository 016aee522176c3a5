package main

import (
	"net"

	"github.com/vishvananda/netlink"
)

// routes makes the other nodes' pods reachable through the nodes themselves.
func routes(nodes []node, self string) error {
	for _, n := range nodes {
		if n.name == self || n.podCIDR == "" || n.ip == "" {
			continue
		}
		_, dst, err := net.ParseCIDR(n.podCIDR)
		if err != nil {
			return err
		}
		if err := netlink.RouteReplace(&netlink.Route{Dst: dst, Gw: net.ParseIP(n.ip)}); err != nil {
			return err
		}
	}
	return nil
}
