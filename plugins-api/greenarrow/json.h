/*
 * json.h - one member of a JSON object from a value of ours, in one call.  Level strict.
 *
 * For what a module answers to a command, adds to the status or keeps as a state: json-c
 * wants a new value for each member, and sizes and counters turned into its int64_t.
 *
 * All of them: o is the caller's and stays so; key is copied, and a member of that name is
 * replaced.  json-c ends up owning the new value.  Any thread, an object by one at a time.
 * Needs the library json-c: link what calls these with JSONC_LIBS.
 */
#ifndef GREENARROW_JSON_H
#define GREENARROW_JSON_H

#include <json-c/json.h>

#include <greenarrow/ga_mem.h>

GA_BEGIN

/* s is copied; p may be NULL where n is 0: "". */
static inline void
ga_json_put_str(struct json_object *o, const char *key, struct ga_str s)
{
	json_object_object_add(o, key, json_object_new_string_len(s.n > 0 ? s.p : "", (int)s.n));
}

/* v: up to INT64_MAX, which is all that json-c's int64_t holds. */
static inline void
ga_json_put_int(struct json_object *o, const char *key, uint64_t v)
{
	json_object_object_add(o, key, json_object_new_int64((int64_t)v));
}

static inline void
ga_json_put_bool(struct json_object *o, const char *key, bool v)
{
	json_object_object_add(o, key, json_object_new_boolean(v));
}

GA_END

#endif
