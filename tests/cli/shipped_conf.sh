#!/bin/sh
# shipped_conf.sh - the settings that we ship are valid, and so is every example in them
#
# Checked against the modules of this build: the files as they are, then with all
# lines switched on that begin in `#` and no blank, or two.  Modules are copied, because a
# build tree may be writable by a group, which the daemon would not accept.
set -u
config=$top_builddir/greenarrow_config
dir=$(mktemp -d) || exit 99
trap 'rm -rf "$dir"' EXIT
umask 022
mkdir "$dir/modules" "$dir/plain" "$dir/plain/conf.d" "$dir/all" "$dir/all/conf.d"

for m in $(sed -n 's/^load_module //p' "$top_srcdir/conf.d/greenarrow.conf"); do
	test -f "$top_builddir/.libs/$m.so" || { echo "module $m is not part of this build"; exit 77; }
	cp "$top_builddir/.libs/$m.so" "$dir/modules/" || exit 99
	chmod 755 "$dir/modules/$m.so"
done
for f in "$top_srcdir"/conf.d/*.conf; do
	case $f in
	*/greenarrow.conf) to=greenarrow.conf ;;
	*) to=conf.d/${f##*/} ;;
	esac
	cp "$f" "$dir/plain/$to"
	# the user need not exist on the machine that builds
	sed -e 's/^#\([a-z}]\)/\1/' -e 's/^#  /  /' -e '/run_as_user/d' "$f" >"$dir/all/$to"
done
# the environment of each service
for f in $(sed -n 's/^ *environment_file //p' "$top_srcdir"/conf.d/*.conf); do
	cp "$top_srcdir/conf.d/$f" "$dir/plain/" || exit 99
	sed -e 's/^#\([A-Za-z]\)/\1/' "$top_srcdir/conf.d/$f" >"$dir/all/$f"
done
failed=0
for kind in plain all; do
	"$config" validate --module-directory="$dir/modules" "$dir/$kind/greenarrow.conf" >"$dir/said" 2>&1 || failed=1
	test -s "$dir/said" && { failed=1; echo "$kind:"; sed "s|$dir/||" "$dir/said"; }
done
exit $failed
