# ga_flags.m4 - what the compiler and the linker are asked for.
#
# Nothing here goes into CFLAGS or LDFLAGS, which belong to whoever runs
# configure or make: everything is substituted and used through AM_*.  Each
# flag is tried first, so that an older compiler simply gets fewer.

# GA_TRY_CFLAGS(VARIABLE, FLAGS): appends each flag that the compiler takes silently
AC_DEFUN([GA_TRY_CFLAGS], [
for ga_flag in $2; do
	AS_VAR_PUSHDEF([ga_cache], [ga_cv_cflag_$ga_flag])
	AC_CACHE_CHECK([whether $CC accepts $ga_flag], [ga_cache], [
		ga_saved_CFLAGS=$CFLAGS
		CFLAGS="$CFLAGS -Werror $ga_flag"
		AC_COMPILE_IFELSE([AC_LANG_PROGRAM()], [AS_VAR_SET([ga_cache], [yes])], [AS_VAR_SET([ga_cache], [no])])
		CFLAGS=$ga_saved_CFLAGS
	])
	AS_VAR_IF([ga_cache], [yes], [$1="$$1 $ga_flag"])
	AS_VAR_POPDEF([ga_cache])
done
AC_SUBST([$1])
])

# GA_TRY_LDFLAGS(VARIABLE, FLAGS): the same for the linker
AC_DEFUN([GA_TRY_LDFLAGS], [
for ga_flag in $2; do
	AS_VAR_PUSHDEF([ga_cache], [ga_cv_ldflag_$ga_flag])
	AC_CACHE_CHECK([whether the linker accepts $ga_flag], [ga_cache], [
		ga_saved_LDFLAGS=$LDFLAGS
		LDFLAGS="$LDFLAGS $ga_flag"
		AC_LINK_IFELSE([AC_LANG_PROGRAM()], [AS_VAR_SET([ga_cache], [yes])], [AS_VAR_SET([ga_cache], [no])])
		LDFLAGS=$ga_saved_LDFLAGS
	])
	AS_VAR_IF([ga_cache], [yes], [$1="$$1 $ga_flag"])
	AS_VAR_POPDEF([ga_cache])
done
AC_SUBST([$1])
])

# GA_SWITCHES: every switch of ours, in one place for configure --help
AC_DEFUN([GA_SWITCHES], [
AC_ARG_ENABLE([werror],
	[AS_HELP_STRING([--enable-werror], [warnings are errors])], [], [enable_werror=no])
AC_ARG_WITH([sanitizer],
	[AS_HELP_STRING([--with-sanitizer=LIST], [build with -fsanitize=LIST, e.g. address,undefined])],
	[], [with_sanitizer=no])
AS_IF([test "x$with_sanitizer" = xyes], [with_sanitizer=address,undefined])
AC_ARG_WITH([fuzzer],
	[AS_HELP_STRING([--with-fuzzer], [link the fuzz targets with libFuzzer (needs clang); without it they replay their corpus])],
	[], [with_fuzzer=no])
AC_ARG_ENABLE([coverage],
	[AS_HELP_STRING([--enable-coverage], [count what the tests reach; then: make coverage])],
	[], [enable_coverage=no])
AC_ARG_ENABLE([static-modules],
	[AS_HELP_STRING([--enable-static-modules], [link the modules into greenarrowd (kind to debuggers and sanitizers)])],
	[], [enable_static_modules=no])
AC_ARG_WITH([systemd],
	[AS_HELP_STRING([--with-systemd], [tell systemd about readiness through libsystemd (default: when found)])],
	[], [with_systemd=check])
AC_ARG_WITH([gsasl],
	[AS_HELP_STRING([--with-gsasl], [AUTH SCRAM-SHA-256 through GNU SASL (default: when found)])],
	[], [with_gsasl=check])
AC_ARG_WITH([systemdsystemunitdir],
	[AS_HELP_STRING([--with-systemdsystemunitdir=DIR], [install systemd units into DIR (yes: where systemd says; default: no)])],
	[], [with_systemdsystemunitdir=no])
AS_IF([test "x$with_systemdsystemunitdir" = xyes],
	[PKG_CHECK_VAR([GA_UNITDIR], [systemd], [systemdsystemunitdir], [with_systemdsystemunitdir=$GA_UNITDIR],
		[AC_MSG_ERROR([systemd.pc not found: name the folder in --with-systemdsystemunitdir=DIR])])])
AC_SUBST([systemdsystemunitdir], [$with_systemdsystemunitdir])
AM_CONDITIONAL([SYSTEMD_UNITS], [test "x$with_systemdsystemunitdir" != xno])
AM_CONDITIONAL([STATIC_MODULES], [test "x$enable_static_modules" = xyes])
AS_IF([test "x$enable_static_modules" = xyes],
	[AC_DEFINE([GA_STATIC_MODULES], [1], [Modules are linked into greenarrowd])])
])

AC_DEFUN([GA_WARNINGS], [
GA_TRY_CFLAGS([WARN_CFLAGS], [-Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wold-style-definition dnl
	-Wpointer-arith -Wwrite-strings -Wformat=2 -Wundef -Wvla -Wimplicit-fallthrough dnl
	-Wlogical-op -Wduplicated-cond -Wduplicated-branches -Wmissing-declarations])
# A callback has the parameters of its type, used or not.
GA_TRY_CFLAGS([WARN_CFLAGS], [-Wno-unused-parameter])
AS_IF([test "x$enable_werror" = xyes], [WARN_CFLAGS="$WARN_CFLAGS -Werror"])
# libev's watcher macros look at one object through several types.
GA_TRY_CFLAGS([CODEGEN_CFLAGS], [-fno-strict-aliasing -fvisibility=hidden -fno-semantic-interposition -fno-common])
])

AC_DEFUN([GA_HARDENING], [
GA_TRY_CFLAGS([HARDEN_CFLAGS], [-fstack-protector-strong -fstack-clash-protection])
AS_CASE([$host_cpu], [x86_64|i?86], [GA_TRY_CFLAGS([HARDEN_CFLAGS], [-fcf-protection])],
	[aarch64*], [GA_TRY_CFLAGS([HARDEN_CFLAGS], [-mbranch-protection=standard])])
GA_TRY_LDFLAGS([HARDEN_LDFLAGS], [-Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack])
# Position independence is for programs; libtool sees to the libraries.
GA_TRY_CFLAGS([PIE_CFLAGS], [-fPIE])
AS_IF([test -n "$PIE_CFLAGS"], [GA_TRY_LDFLAGS([PIE_LDFLAGS], [-pie])])
# The fortified functions need an optimiser, and hide overruns from a sanitizer.
HARDEN_CPPFLAGS=
AS_IF([test "x$with_sanitizer" = xno && test "x$enable_coverage" = xno && test "x$with_fuzzer" = xno], [
	for ga_level in 2 3; do
		AC_MSG_CHECKING([for _FORTIFY_SOURCE=$ga_level])
		ga_saved_CPPFLAGS=$CPPFLAGS ga_saved_CFLAGS=$CFLAGS
		CPPFLAGS="$CPPFLAGS -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=$ga_level" CFLAGS="$CFLAGS -Werror"
		AC_COMPILE_IFELSE([AC_LANG_PROGRAM([[#include <string.h>
			#ifndef __OPTIMIZE__
			#error fortified functions need -O
			#endif
			#if $ga_level > 2 && !defined __clang__ && __GNUC__ < 12
			#error level 3 needs __builtin_dynamic_object_size
			#endif]])],
			[HARDEN_CPPFLAGS="-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=$ga_level"; ga_result=yes], [ga_result=no])
		CPPFLAGS=$ga_saved_CPPFLAGS CFLAGS=$ga_saved_CFLAGS
		AC_MSG_RESULT([$ga_result])
	done
])
AC_SUBST([HARDEN_CPPFLAGS])
])

# GA_INSTRUMENTATION: sanitizers, fuzzer, coverage
AC_DEFUN([GA_INSTRUMENTATION], [
INSTR_CFLAGS= INSTR_LDFLAGS= FUZZ_LDFLAGS= NO_UNDEFINED_LDFLAGS=-Wl,-z,defs
AS_IF([test "x$with_sanitizer" != xno], [
	INSTR_CFLAGS="-fsanitize=$with_sanitizer -fno-omit-frame-pointer -fno-sanitize-recover=all"
	INSTR_LDFLAGS="-fsanitize=$with_sanitizer"
	AC_MSG_CHECKING([whether a program links with -fsanitize=$with_sanitizer])
	ga_saved_CFLAGS=$CFLAGS
	CFLAGS="$CFLAGS $INSTR_CFLAGS"
	AC_LINK_IFELSE([AC_LANG_PROGRAM()], [AC_MSG_RESULT([yes])],
		[AC_MSG_RESULT([no])
		AC_MSG_ERROR([$CC cannot link with -fsanitize=$with_sanitizer])])
	CFLAGS=$ga_saved_CFLAGS
])
AS_IF([test "x$with_fuzzer" != xno], [
	INSTR_CFLAGS="$INSTR_CFLAGS -fsanitize=fuzzer-no-link"
	FUZZ_LDFLAGS=-fsanitize=fuzzer
	AC_MSG_CHECKING([whether $CC has libFuzzer])
	ga_saved_CFLAGS=$CFLAGS
	CFLAGS="$CFLAGS $FUZZ_LDFLAGS"
	AC_LINK_IFELSE([AC_LANG_SOURCE([[#include <stddef.h>
		#include <stdint.h>
		int LLVMFuzzerTestOneInput(const uint8_t *d, size_t n) { (void)d; (void)n; return 0; }]])],
		[AC_MSG_RESULT([yes])],
		[AC_MSG_RESULT([no])
		AC_MSG_ERROR([--with-fuzzer needs clang: ./configure CC=clang --with-fuzzer])])
	CFLAGS=$ga_saved_CFLAGS
])
AS_IF([test "x$enable_coverage" = xyes], [
	INSTR_CFLAGS="$INSTR_CFLAGS --coverage -O0"
	INSTR_LDFLAGS="$INSTR_LDFLAGS --coverage"
	AC_CHECK_PROGS([GCOVR], [gcovr])
	AC_CHECK_PROGS([LCOV], [lcov])
])
# clang keeps the sanitizers' runtime in the program: a library's references to it stay open.
AS_IF([test "x$with_sanitizer$with_fuzzer" != xnono],
	[AC_COMPILE_IFELSE([AC_LANG_PROGRAM([[
		#ifndef __clang__
		#error gcc
		#endif]])], [NO_UNDEFINED_LDFLAGS=])])
AC_SUBST([INSTR_CFLAGS])
AC_SUBST([INSTR_LDFLAGS])
AC_SUBST([FUZZ_LDFLAGS])
AC_SUBST([NO_UNDEFINED_LDFLAGS])
AM_CONDITIONAL([WITH_FUZZER], [test "x$with_fuzzer" != xno])
AM_CONDITIONAL([COVERAGE], [test "x$enable_coverage" = xyes])
])
