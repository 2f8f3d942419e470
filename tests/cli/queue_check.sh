#!/bin/sh
# queue_check.sh - a module's command runs without a daemon, takes options of its own, and ends well
set -u
GREENARROWD=$top_builddir/greenarrowd
export GREENARROWD
dir=$(mktemp -d) || exit 99
trap 'rm -rf "$dir"' EXIT
umask 022
failed=0

mkdir "$dir/modules" "$dir/queue"
test -f "$top_builddir/.libs/spool.so" || { echo "module spool is not part of this build"; exit 77; }
cp "$top_builddir/.libs/spool.so" "$dir/modules/" || exit 99
chmod 755 "$dir/modules/spool.so"
cat >"$dir/greenarrow.conf" <<END
load_module spool
general {
  module_directory $dir/modules
  queue_directory $dir/queue
}
END

# expect NAME RC PATTERN COMMAND...: exit code, and a line of what it says
expect()
{
	name=$1 rc=$2 pattern=$3
	shift 3
	"$top_builddir/greenarrow" "$@" >"$dir/said" 2>&1
	got=$?
	test $got = "$rc" && grep -q -- "$pattern" "$dir/said" && return
	failed=1
	echo "$name: exit $got (expected $rc)"
	cat "$dir/said"
}

conf=--config-filename=$dir/greenarrow.conf
expect "a queue that is not there" 1 "cannot open $dir/queue/spool" queue_check "$conf"
mkdir -m 700 "$dir/queue/spool" "$dir/queue/corrupt"
expect "an empty queue is good" 0 '^0 messages, 0 envelopes' queue_check "$conf"
expect "its options are its own" 0 '^0 messages' queue_check "$conf" --list
expect "a folder may be named" 0 '^0 messages' queue_check "$conf" "$dir/queue"
expect "an unknown option" 2 'usage: queue_check' queue_check "$conf" --lost
expect "an unknown command" 2 'no loaded module has a command .queue_chek' queue_chek "$conf"
if test "$(id -u)" -eq 0; then
	chmod 755 "$dir"
	chown -R nobody "$dir/queue"
	expect "root checks the daemon's queue" 0 '^0 messages' queue_check "$conf"
	find "$dir/queue" -user root | grep . && { echo "something of root's is left in the queue"; failed=1; }
fi
exit $failed
