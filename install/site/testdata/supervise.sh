#!/bin/bash
# Made by bundle install: keeps the registry running where there is no systemd.
# for 3e708262c1dd3ed202bb60889289922ce079ada3d8017cd9a94fe1a02a04e19b
stop= child=
trap 'stop=yes; [ -z "$child" ] || kill "$child" 2>/dev/null' TERM INT
read -r s < "/proc/$$/stat"
s=${s##*) }
set -- $s
echo "$$ ${20}" > /var/lib/bundle/registry/supervise.pid
while [ -z "$stop" ]; do
  /var/lib/bundle/bin/bundle 'serve' '/var/lib/bundle/bundles/1.tar.zst' '/media/my stick/100% "$HOME".tar.zst' '--addr=:5001' '--tls=auto' '--tls-dir=/var/lib/bundle/tls' '--tls-name=sea.hub' '--tls-name=registry.example' '--tls-name=10.0.0.1' '--tls-name=10.0.0.99' '--tls-name=r.example' '--local-name=registry.example:5001' '--local-name=sea.hub:5000' '--local-name=sea.hub:5001' '--key=/var/lib/bundle/keys/1.pub' </dev/null >> /var/lib/bundle/registry/serve.log 2>&1 &
  child=$!
  echo "$child" > /var/lib/bundle/registry/serve.pid
  [ -z "$stop" ] || kill "$child" 2>/dev/null
  wait "$child"
  code=$?
  # A signal ends the first wait early.
  [ -z "$stop" ] || wait "$child"
  child=
  [ -n "$stop" ] || { echo "ended with code $code" >> /var/lib/bundle/registry/serve.log; sleep 3 & wait $!; }
done
rm -f -- /var/lib/bundle/registry/supervise.pid /var/lib/bundle/registry/serve.pid
