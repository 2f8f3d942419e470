/*
 * control.h - service of the core: commands of the control socket.  Level strict.
 *
 * run/control.sock, one JSON object a line (DESIGN section 8).  A module registers
 * commands in init; handlers run on the main loop and answer when they can.
 */
#ifndef GREENARROW_SERVICE_CONTROL_H
#define GREENARROW_SERVICE_CONTROL_H

#include <json-c/json.h>

#include <greenarrow/loop.h>

GA_BEGIN

struct ga_control_call;			/* one request; alive until its end */

/* args: borrowed, never NULL.  Answer with ga_control_reply() or _error(), now or
 * later (main loop), once; or with any number of ga_control_part() before. */
typedef void ga_control_fn(struct ga_control_call *, struct json_object *args, void *arg);
GA_EXPORT void ga_control_register(struct ga_inst *, const char *command,
    const char *help, ga_control_fn *, void *arg);
/* Takes the reference of result (an object whose members join {"id","ok":true}). */
GA_EXPORT void ga_control_reply(struct ga_control_call *, struct json_object *result);
/* One of many answers of a stream; false: the client is gone or slow (stop, or wait
 * until ready() is called). Ends with ga_control_reply(), which adds "end":true. */
GA_EXPORT bool ga_control_part(struct ga_control_call *, struct json_object *part);
GA_EXPORT void ga_control_error(struct ga_control_call *, const char *code,
    const char *fmt, ...) GA_PRINTF(3, 4);
/* The client has gone: end what was started for it.  Still answer once. */
GA_EXPORT bool ga_control_gone(const struct ga_control_call *);

/* Everything that `greenarrow status` shows: each module adds its part.  Main loop. */
typedef void ga_status_fn(struct ga_inst *, struct json_object *status);
GA_EXPORT void ga_status_register(struct ga_inst *, ga_status_fn *);
/* The parts of all modules as they are now, for who writes them elsewhere.  Main loop; the
 * caller's (json_object_put). */
GA_EXPORT struct json_object *ga_status_parts(void) GA_NODISCARD;

GA_END

#endif
