/*
 * greenarrowd.c - the mail transfer agent's main.
 *
 * Everything is in the library, because the modules need it there; this only
 * says which program it is and makes modules that are linked in known.
 */
#include "config.h"

#include <ltdl.h>

#include "daemon/main.h"

int
main(int argc, char **argv)
{
#ifdef GA_STATIC_MODULES
	LTDL_SET_PRELOADED_SYMBOLS();
#endif
	return gac_main("greenarrowd", argc, argv);
}
