/*
 * version.c - which GreenArrow this is
 *
 * The loader compares gac_build_id() with what a strict module was compiled
 * against; every program prints gac_version().  Both come from build-id.h,
 * which make puts before each file: asking here rather than using the macro
 * gives the answer of the library that is running, not of the caller's build.
 */
#include "config.h"

#include "base/version.h"

const char *gac_version(void)
{
	return GA_VERSION;
}

const char *gac_build_id(void)
{
	return GA_BUILD_ID;
}
