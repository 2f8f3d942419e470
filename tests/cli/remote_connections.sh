#!/bin/sh
# remote_connections.sh - the help text octet for octet; filters that do not parse; no daemon
set -u
dir=$(mktemp -d) || exit 99
trap 'rm -rf "$dir"' EXIT
failed=0
printf 'general {\n  run_directory %s\n}\n' "$dir" >"$dir/greenarrow.conf"

(cd "$top_builddir" && ./greenarrow remote_connections --help) >"$dir/help"
diff "$top_srcdir/tests/cli/remote_connections/help.txt" "$dir/help" || failed=1

# refused TEXT OPTION...: wrong usage, told before the daemon is asked
refused()
{
	text=$1
	shift
	"$top_builddir/greenarrow" remote_connections --config-filename="$dir/greenarrow.conf" "$@" >"$dir/out" 2>"$dir/err"
	test $? = 2 && grep -qF -- "$text" "$dir/err" && ! test -s "$dir/out" && return
	failed=1
	echo "$*: not refused with $text"
	cat "$dir/err"
}
for value in mail.example.com 192.0.2 192.0.2.1:smtp 192.0.2.1:99999 '[192.0.2.1]:25' '[2001:db8::1' ''; do
	refused "--filter-remote-ip: \`$value\` is not an IP address" "--filter-remote-ip=$value"
	refused "--filter-local-ip: \`$value\` is not an IP address" "--filter-local-ip=$value"
done
for value in soon 4x -1s ''; do
	refused "--filter-connection-duration: \`$value\` is not a duration" "--filter-connection-duration=$value"
done
refused '--filter-connection-duration: `4` lacks a unit' --filter-connection-duration=4
refused '--filter-domain: `a..b`' --filter-domain=a..b
refused '--filter-mtaid: `ip-1` is not the id' --filter-mtaid=ip-1
refused '--filter-state: `idle` is not one of connecting,' --filter-state=idle
refused 'unexpected `21`' 21
refused 'filter-colour' --filter-colour=red

# every form of a filter gets as far as the daemon, which is not there: one line, exit 1
for option in --json --verbose --loop --filter-remote-ip=192.0.2.1 --filter-remote-ip=192.0.2.1:25 --filter-local-ip=2001:db8::1 \
	--filter-local-ip=[2001:db8::1]:25 --filter-connection-duration=4s --filter-connection-duration=1m30s \
	--filter-connection-duration=500ms --filter-domain=Receiver.Example --filter-domain=[192.0.2.1] --filter-mtaid=2 --filter-state=sending; do
	"$top_builddir/greenarrow" remote_connections --config-filename="$dir/greenarrow.conf" "$option" >"$dir/out" 2>&1
	rc=$?
	test $rc = 1 && test "$(wc -l <"$dir/out")" = 1 && grep -q 'greenarrowd is not running' "$dir/out" && continue
	failed=1
	echo "$option: exit $rc"
	cat "$dir/out"
done
exit $failed
