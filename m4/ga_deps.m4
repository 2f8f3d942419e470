# ga_deps.m4 - the libraries that GreenArrow stands on.

# GA_PKG(VARIABLE, SPEC, DEBIAN-PACKAGE): a library that must be there, found by pkg-config
AC_DEFUN([GA_PKG], [
PKG_CHECK_MODULES([$1], [$2], [],
	[AC_MSG_ERROR([$2 not found; on Debian: apt-get install $3])])
])

# GA_LIB(VARIABLE, LIBRARY, FUNCTION, HEADER, DEBIAN-PACKAGE): the same for one without a .pc file
AC_DEFUN([GA_LIB], [
AC_CHECK_HEADER([$4], [], [AC_MSG_ERROR([$4 not found; on Debian: apt-get install $5])])
AC_CHECK_LIB([$2], [$3], [AC_SUBST([$1], ["-l$2"])],
	[AC_MSG_ERROR([lib$2 with $3 not found; on Debian: apt-get install $5])])
])

AC_DEFUN([GA_DEPENDENCIES], [
GA_LIB([EV_LIBS], [ev], [ev_run], [ev.h], [libev-dev])
GA_LIB([LTDL_LIBS], [ltdl], [lt_dladvise_init], [ltdl.h], [libltdl-dev])
GA_PKG([GNUTLS], [gnutls >= 3.7.4], [libgnutls28-dev])
GA_PKG([JSONC], [json-c >= 0.15], [libjson-c-dev])
# Debian's libunbound.pc requires libevent.pc, which libunbound-dev does not bring.
GA_LIB([UNBOUND_LIBS], [unbound], [ub_resolve_async], [unbound.h], [libunbound-dev])
# libunbound may run on libevent, and libev brings functions of the same names for
# another libevent: whoever is linked first is the one that libunbound gets.
GA_LIB([EVENT_LIBS], [event], [event_get_version], [event2/event.h], [libevent-dev])
GA_PKG([IDN2], [libidn2 >= 2.3], [libidn2-dev])
GA_PKG([CDB], [libcdb >= 0.77], [libcdb-dev])
GA_PKG([LIBCAP], [libcap >= 2.44], [libcap-dev])
# Password hashes: libxcrypt's, which says of a hash what it is.
GA_LIB([CRYPT_LIBS], [crypt], [crypt_checksalt], [crypt.h], [libcrypt-dev])
AC_CHECK_HEADER([uthash.h], [],
	[AC_MSG_ERROR([uthash.h not found; on Debian: apt-get install uthash-dev])])
AC_SEARCH_LIBS([pthread_create], [pthread])

AS_IF([test "x$with_systemd" != xno],
	[PKG_CHECK_MODULES([SYSTEMD], [libsystemd], [ga_have_systemd=yes], [ga_have_systemd=no])],
	[ga_have_systemd=no])
AS_IF([test "x$ga_have_systemd" = xyes],
	[AC_DEFINE([HAVE_LIBSYSTEMD], [1], [sd_notify() is there])],
	[AS_IF([test "x$with_systemd" = xyes], [AC_MSG_ERROR([--with-systemd given, libsystemd not found])])])

# AUTH SCRAM-SHA-256; PLAIN and LOGIN need nothing of it.
AS_IF([test "x$with_gsasl" != xno],
	[PKG_CHECK_MODULES([GSASL], [libgsasl >= 2.0], [ga_have_gsasl=yes], [ga_have_gsasl=no])],
	[ga_have_gsasl=no])
AS_IF([test "x$ga_have_gsasl" = xyes],
	[AC_SUBST([GSASL_CPPFLAGS], ["-DHAVE_GSASL=1 $GSASL_CFLAGS"])],
	[AS_IF([test "x$with_gsasl" = xyes], [AC_MSG_ERROR([--with-gsasl given, libgsasl not found; on Debian: apt-get install libgsasl-dev])])])

# Tests only: the product builds without it, make check then runs what does not need it.
PKG_CHECK_MODULES([CMOCKA], [cmocka >= 1.1], [ga_have_cmocka=yes], [ga_have_cmocka=no])
AM_CONDITIONAL([HAVE_CMOCKA], [test "x$ga_have_cmocka" = xyes])
])
