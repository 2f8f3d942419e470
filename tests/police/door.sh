#!/bin/sh
# door.sh - the rules of the house about who may know whom:
#   a module includes <greenarrow/...>, libraries, and its own folder;
#   the core names no module.
# A module's tests may also use the core and tests/ (they link it statically),
# never another module.
set -u
cd "$top_srcdir" || exit 99
complaints=$(mktemp) || exit 99
trap 'rm -f "$complaints"' EXIT

complain() { echo "$1" >>"$complaints"; }

# excused FILE MODULE: a word there that only looks like the module's name
excused()
{
	case $1:$2 in
	core/conf/schema.c:route) return 0 ;;   # a directive's mark "route": it decides the route
	esac
	return 1
}

# includes FILE: "line kind name" for each #include
includes()
{
	sed -nE -e 's/^[ \t]*#[ \t]*include(_next)?[ \t]*"([^"]*)".*/quote \2/p; t' \
		-e 's/^[ \t]*#[ \t]*include(_next)?[ \t]*<([^>]*)>.*/angle \2/p' "$1"
}

# inside FOLDER FILE: FILE is there and below FOLDER once every ".." is resolved
inside()
{
	test -f "$2" || return 1
	case $(realpath "$2") in "$(realpath "$1")"/*) return 0 ;; esac
	return 1
}

check_include()
{
	file=$1 kind=$2 name=$3
	own=modules/$(echo "$file" | cut -d/ -f2)
	case $file in "$own"/tests/*) test_of=$own ;; *) test_of= ;; esac
	if [ "$kind" = quote ]; then
		inside "$own" "$(dirname "$file")/$name" && return
		if [ -n "$test_of" ]; then
			case $name in config.h) return ;; esac
			test -f "core/$name" && return
			test -f "tests/doubles/$name" && return
			inside tests "$(dirname "$file")/$name" && return
			inside core "$(dirname "$file")/$name" && return
		fi
		complain "$file: includes \"$name\", which is not in $own/"
	else
		case $name in greenarrow/*) return ;; esac
		if [ -f "core/$name" ] || [ -f "$name" ] || [ -f "modules/$name" ]; then
			complain "$file: includes <$name>, which is a file of this tree"
		fi
	fi
}

for file in $(find modules -name '*.[ch]' | LC_ALL=C sort); do
	includes "$file" | while read -r kind name; do
		check_include "$file" "$kind" "$name"
	done
done

# In the core, comments aside: no module's descriptor, no string that is just
# a module's name; and no identifier or string at all that starts with a name that
# only a module has (one with an underscore: "queue" is also a common word).
for module in $(cd modules && find . -mindepth 1 -maxdepth 1 -type d | sed 's|^\./||' | LC_ALL=C sort); do
	pattern="\"$module\"|\\b${module}_LTX_"
	case $module in *_*) pattern="$pattern|\\b$module(\\b|_)" ;; esac
	for file in $(find core -name '*.[ch]' | LC_ALL=C sort); do
		excused "$file" "$module" && continue
		cc -fpreprocessed -dD -E -P -w "$file" 2>/dev/null | grep -nE -- "$pattern" |
			while IFS=: read -r _ text; do
				complain "$file: names the module $module: $text"
			done
	done
done

cat "$complaints"
test ! -s "$complaints"
