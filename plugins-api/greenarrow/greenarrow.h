/*
 * greenarrow.h - the module API of level stable, whole.
 *
 * A module of level stable includes this and nothing else of ours.  See
 * ga_module.h for the shape of a module, ga_hook.h for the points where it is
 * asked or told, ga_conf.h for its directives, ga_async.h for waiting,
 * ga_mem.h for memory and ga_log.h for logs and counters.
 */
#ifndef GREENARROW_GREENARROW_H
#define GREENARROW_GREENARROW_H

#include <greenarrow/ga_abi.h>
#include <greenarrow/ga_async.h>
#include <greenarrow/ga_conf.h>
#include <greenarrow/ga_hook.h>
#include <greenarrow/ga_log.h>
#include <greenarrow/ga_mem.h>
#include <greenarrow/ga_module.h>

#endif
