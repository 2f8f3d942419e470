# greenarrow.m4 - for authors of GreenArrow modules who use autoconf.          -*- autoconf -*-
#
#	AC_INIT([acme_tagger], [1.0])
#	...
#	LT_INIT([dlopen disable-static])
#	GREENARROW_MODULE([0.1])
#
# and in Makefile.am:
#
#	AM_CPPFLAGS = $(GREENARROW_CFLAGS)
#	module_LTLIBRARIES = acme_tagger.la
#	acme_tagger_la_SOURCES = acme_tagger.c
#	acme_tagger_la_LDFLAGS = $(GREENARROW_MODULE_LDFLAGS)
#	acme_tagger_la_LIBADD = $(GREENARROW_LIBS)

# GREENARROW_MODULE([MINIMUM-VERSION])
# ------------------------------------
# Finds the API with pkg-config and substitutes GREENARROW_CFLAGS and _LIBS;
# moduledir, where greenarrowd looks for modules; GREENARROW_BUILD_ID, for
# modules of level strict; GREENARROW_MODULE_LDFLAGS, which make an
# unresolved symbol an error when linking instead of when mail arrives.
# Since 0.1.
AC_DEFUN([GREENARROW_MODULE], [
AC_REQUIRE([PKG_PROG_PKG_CONFIG])
PKG_CHECK_MODULES([GREENARROW], [greenarrow m4_ifnblank([$1], [>= $1])])
PKG_CHECK_VAR([greenarrow_moduledir], [greenarrow], [moduledir])
PKG_CHECK_VAR([GREENARROW_BUILD_ID], [greenarrow], [build_id])
AC_SUBST([moduledir], [$greenarrow_moduledir])
AC_SUBST([GREENARROW_MODULE_LDFLAGS],
	["-module -avoid-version -shared -no-undefined -Wl,-z,now -Wl,-z,defs -export-symbols-regex '_LTX_ga_module\$\$'"])
])
