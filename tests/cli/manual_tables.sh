#!/bin/sh
# manual_tables.sh - the tables of greenarrow.conf(5) are what the modules declare
#
# Asks greenarrow_config for the directives of the core and of every module that
# the shipped settings load, and compares with the part of the page between its
# two marks.  With --write (make manual) puts them there instead.  Modules are
# copied: a build tree may be writable by a group, and then they are refused.
set -u
config=$top_builddir/greenarrow_config
page=$top_srcdir/docs/greenarrow.conf.5
dir=$(mktemp -d) || exit 99
trap 'rm -rf "$dir"' EXIT
umask 022
mkdir "$dir/modules"

modules=$(sed -n 's/^load_module //p' "$top_srcdir/conf.d/greenarrow.conf")
for m in $modules; do
	test -f "$top_builddir/.libs/$m.so" || { echo "module $m is not part of this build"; exit 77; }
	cp "$top_builddir/.libs/$m.so" "$dir/modules/" || exit 99
	chmod 755 "$dir/modules/$m.so"
done

# No settings of this machine: they might name another module directory.
"$config" --config-filename="$dir/none" --module-directory="$dir/modules" directives core $modules --man \
	>"$dir/tables" || { echo "greenarrow_config directives failed"; exit 1; }

awk -v tables="$dir/tables" '
	!inside { print }
	/^\.\\" begin directives/ { inside = 1; while ((getline line <tables) > 0) print line }
	inside && /^\.\\" end directives/ { print; inside = 0; marks = 1 }
	END { exit !marks }
' "$page" >"$dir/page" || { echo "$page has lost its marks"; exit 1; }

if test "${1-}" = --write; then
	cmp -s "$dir/page" "$page" || { cp "$dir/page" "$page" && echo "$page: tables made anew"; }
	exit
fi
cmp -s "$dir/page" "$page" && exit 0
echo "greenarrow.conf(5) differs from the modules; run: make manual"
diff "$page" "$dir/page"
exit 1
