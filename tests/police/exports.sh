#!/bin/sh
# exports.sh - the shared library shows ga_* and gac_* and nothing else; a
# module shows its descriptor and nothing else.  What is visible by accident
# becomes an ABI by accident.
set -u
cd "$top_builddir" || exit 99
failed=0 seen=0

# visible FILE: the names that FILE defines for others (A: version nodes; the sanitizers' and linker's own left out)
visible()
{
	${NM:-nm} -D --defined-only "$1" |
		awk '$2 != "A" { sub(/@.*/, "", $3); print $3 }' |
		grep -Ev '^(__asan_|__odr_asan|__ubsan_|__gcov|__llvm_|_init$|_fini$|__bss_start$|_edata$|_end$)'
}

# only FILE PATTERN
only()
{
	seen=$((seen + 1))
	stray=$(visible "$1" | grep -Ev "$2")
	test -z "$stray" && return
	echo "$1 also shows:" $stray
	failed=$((failed + 1))
}

lib=.libs/libgreenarrow-plugin.so
test -e "$lib" || { echo "$lib is not built"; exit 99; }
only "$lib" '^gac?_'
for module in .libs/*.so; do
	case $module in *libgreenarrow-plugin*) continue ;; esac
	name=$(basename "$module" .so)
	only "$module" "^${name}_LTX_ga_module\$"
	visible "$module" | grep -qx "${name}_LTX_ga_module" || {
		echo "$module does not show ${name}_LTX_ga_module"
		failed=$((failed + 1))
	}
done
echo "$seen files looked at, $failed wrong"
test "$failed" -eq 0
