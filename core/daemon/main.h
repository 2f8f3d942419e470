/*
 * main.h - the daemon's program, for its thin main.
 */
#ifndef CORE_DAEMON_MAIN_H
#define CORE_DAEMON_MAIN_H

#include <greenarrow/ga_abi.h>

/* All of it; returns the exit code.  program: "greenarrowd". */
GA_EXPORT int gac_main(const char *program, int argc, char **argv);

#endif
