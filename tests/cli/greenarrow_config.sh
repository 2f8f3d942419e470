#!/bin/sh
# greenarrow_config.sh - exit codes and output of greenarrow_config, without modules
#
# Needs nothing but the programs of this build; runs in a folder of its own.
set -u
GREENARROWD=$top_builddir/greenarrowd
export GREENARROWD
config=$top_builddir/greenarrow_config
dir=$(mktemp -d) || exit 99
trap 'rm -rf "$dir"' EXIT
failed=0

# expect NAME RC STDOUT STDERR COMMAND...: the last line of each stream, "" for none
expect()
{
	name=$1 rc=$2 out=$3 err=$4
	shift 4
	"$@" >"$dir/out" 2>"$dir/err"
	got=$?
	test $got = "$rc" && test "$(tail -n 1 "$dir/out")" = "$out" && test "$(tail -n 1 "$dir/err")" = "$err" && return
	failed=1
	echo "$name: exit $got (expected $rc)"
	sed 's/^/  out: /' "$dir/out"
	sed 's/^/  err: /' "$dir/err"
}

mkdir "$dir/modules"
cat >"$dir/good.conf" <<END
general {
  hostname mail.example.com   # ours
  run_directory $dir/run
  module_directory $dir/modules
}
END
printf 'general {\n  hostname a.example\n  wrkers 2\n' >"$dir/bad.conf"

expect "a good file is silent" 0 "" "" "$config" validate "$dir/good.conf"
expect "a bad file is refused" 1 "" "$dir/bad.conf:4:1: the block \`general\` of line 1 is not closed: \`}\` is missing" \
	"$config" validate "$dir/bad.conf"
test "$(wc -l <"$dir/err")" = 2 || { failed=1; echo "all errors in one run"; cat "$dir/err"; }
expect "a missing file" 1 "" "$dir/none.conf: cannot be read: No such file or directory" \
	"$config" validate "$dir/none.conf"
expect "the option names the file" 0 "" "" "$config" --config-filename="$dir/good.conf" validate
expect "the environment names the file" 1 "" "$dir/none.conf: cannot be read: No such file or directory" \
	env GREENARROW_CONFIG="$dir/none.conf" "$config" validate
expect "no command" 2 "" "Try \`$config --help\`." "$config"
expect "an unknown command" 2 "" "Try \`$config --help\`." "$config" valdate
expect "an unknown option" 2 "" "Try \`$config --help\`." "$config" validate --jsn
expect "too much" 2 "" "Try \`$config --help\`." "$config" validate "$dir/good.conf" more
expect "help" 0 "  -h, --help                        Show this help message" "" "$config" --help
expect "reload without a daemon" 1 "" \
	"$config: reload: greenarrowd is not running ($dir/run/control.sock: No such file or directory)" \
	"$config" reload --config-filename="$dir/good.conf"
expect "a bad file is not sent" 1 "" "$dir/bad.conf:4:1: the block \`general\` of line 1 is not closed: \`}\` is missing" \
	"$config" reload --config-filename="$dir/bad.conf"
expect "an unknown VirtualMTA" 1 "" "$config: there is no VirtualMTA \`x\`" \
	"$config" show --virtual-mta=x --config-filename="$dir/good.conf"

"$config" show --config-filename="$dir/good.conf" >"$dir/show" || failed=1
grep -q "^hostname mail.example.com  *# $dir/good.conf:2, general\$" "$dir/show" || { failed=1; cat "$dir/show"; }
grep -q '^stop_timeout 20s  *# default$' "$dir/show" || { failed=1; cat "$dir/show"; }
# What show prints is a configuration.
{ echo 'general {'; cat "$dir/show"; echo '}'; } >"$dir/again.conf"
expect "show prints a valid configuration" 0 "" "" "$config" validate "$dir/again.conf"

"$config" show --json --config-filename="$dir/good.conf" >"$dir/json" || failed=1
/usr/bin/python3 - "$dir/json" "$dir" <<'END' || failed=1
import json, sys
doc = json.load(open(sys.argv[1]))
values = {s["directive"]: s for s in doc["settings"]}
assert values["hostname"]["value"] == "mail.example.com", values["hostname"]
assert values["hostname"]["source"] == sys.argv[2] + "/good.conf:2", values["hostname"]
assert values["workers"]["source"] == "default" and values["workers"]["block"] is None
END
"$config" directives core --json >"$dir/json" || failed=1
/usr/bin/python3 - "$dir/json" <<'END' || failed=1
import json, sys
names = {d["directive"]: d for d in json.load(open(sys.argv[1]))}
assert names["use_module"]["contexts"] == ["smtp_service", "ip_address", "relay_server", "domain"]
assert names["stop_timeout"]["default"] == "20s"
END
"$config" directives core --man | grep -q '^\.It Ic hostname Ar host$' || { failed=1; echo "no .It in --man"; }
exit $failed
