/*
 * conf.h - reading the configuration snapshot.  Level strict.
 *
 * A snapshot is one validated greenarrow.conf: immutable, reference counted,
 * readable from any thread without a lock of the caller's.  What is resolved
 * from it (settings, plans, structs) lives exactly as long as the snapshot and
 * is cached in it, so that asking twice costs a look-up.
 */
#ifndef GREENARROW_CONF_H
#define GREENARROW_CONF_H

#include <greenarrow/ga_conf.h>
#include <greenarrow/ga_log.h>

GA_BEGIN

struct ga_snapshot;
struct ga_settings;		/* what holds in one scope: see below */
struct ga_object;		/* one block (all its parts merged) of the file */
struct ga_plan;			/* hooks in force in a scope: ga_run.h */

/* The snapshot in force, with a reference for the caller.  Any thread.  While
 * check, init and reload run, on their thread: the one that is coming. */
GA_EXPORT struct ga_snapshot *ga_snapshot_current(void) GA_NODISCARD;
GA_EXPORT struct ga_snapshot *ga_snapshot_ref(struct ga_snapshot *);
GA_EXPORT void ga_snapshot_unref(struct ga_snapshot *);
/* 1 for the first, +1 for each reload that took effect. */
GA_EXPORT uint64_t ga_snapshot_number(const struct ga_snapshot *);

/*
 * Scopes.  Never NULL unless said.
 *  general   the general block and the defaults
 *  object    a block's own statements, over those of the blocks around it, over
 *            `ip_address *` if it is a VirtualMTA or in one, over general
 *  resolve   VirtualMTA x domain, in the order of DESIGN section 7, for an ip_address
 *            with the throttle_template in force.  vmta is the
 *            VirtualMTA's name without case ("" or an unknown one: only `*` and
 *            general; `*` also holds for relay_server and routing_rule), domain the
 *            recipient's in lower-case A-label form ("" = none), mx the names of
 *            its MX hosts in order of preference (nmx 0: not known yet; then
 *            mx: patterns do not match).  Any thread.
 */
GA_EXPORT const struct ga_settings *ga_snapshot_general(struct ga_snapshot *);
GA_EXPORT const struct ga_settings *ga_snapshot_object(struct ga_snapshot *,
    const struct ga_object *);
GA_EXPORT const struct ga_settings *ga_snapshot_resolve(struct ga_snapshot *,
    struct ga_str vmta, struct ga_str domain, const struct ga_str *mx, size_t nmx);
/* True when some mx: pattern could apply to this VirtualMTA: MX names matter. */
GA_EXPORT bool ga_snapshot_wants_mx(struct ga_snapshot *, struct ga_str vmta);

/*
 * The struct of the module's directives in that scope, or NULL when the module
 * declares none.  module is its name, so that the answer does not depend on a
 * generation of instances.
 */
GA_EXPORT const void *ga_settings_conf(const struct ga_settings *, const char *module);
/* Where a field's value came from: the block (NULL: the default) and "file:line"
 * ("" for a default; lives as long as the snapshot). */
GA_EXPORT const struct ga_object *ga_settings_source(const struct ga_settings *,
    const char *module, const char *field);
GA_EXPORT const char *ga_settings_where(const struct ga_settings *,
    const char *module, const char *field);
/* Where the word of a table's row that holds in the scope stands; row and word count from
 * 0.  False: the table is a default, or has none such.  file lives as long as the snapshot. */
struct ga_place {
	const char *file;
	unsigned line, column;
};
GA_EXPORT bool ga_settings_place(const struct ga_settings *, const char *module,
    const char *field, size_t row, size_t word, struct ga_place *);
/* Where a block comes in the order of resolution: of two, the lower one decides. UINT_MAX: it has
 * no say in this scope. */
GA_EXPORT unsigned ga_settings_rank(const struct ga_settings *, const struct ga_object *);
/* The narrowest block of the scope: the smtp_service of a session's; NULL: general. */
GA_EXPORT const struct ga_object *ga_settings_block(const struct ga_settings *);
/* A flag of another module, whose struct is its own; false if there is no such directive. */
GA_EXPORT bool ga_settings_flag(const struct ga_settings *, const char *module, const char *field);
/* The plan of hooks (order of load_module, use_module applied) of the scope. */
GA_EXPORT const struct ga_plan *ga_settings_plan(const struct ga_settings *);
GA_EXPORT struct ga_snapshot *ga_settings_snapshot(const struct ga_settings *);

/*
 * Blocks in the order of the file.  context is "smtp_service", "ip_address", …
 * Several blocks of one name are one object.  `*` is an object of name "*".
 * parent NULL: top level; else the children ("domain" below an ip_address,
 * "rule" below a throttle_template).
 */
GA_EXPORT const struct ga_object *ga_object_first(struct ga_snapshot *,
    const struct ga_object *parent, const char *context);
GA_EXPORT const struct ga_object *ga_object_next(const struct ga_object *);
/* By name, without case; NULL if there is none. */
GA_EXPORT const struct ga_object *ga_object_find(struct ga_snapshot *,
    const char *context, struct ga_str name);
GA_EXPORT const char *ga_object_context(const struct ga_object *);
GA_EXPORT struct ga_str ga_object_name(const struct ga_object *);
/* For a domain block, and a rule of a throttle_template: its patterns, in lower case and A-labels ("*.example.com",
 * "mx:[*.]google.com"); for others the name alone. */
GA_EXPORT struct ga_strlist ga_object_patterns(const struct ga_object *);
GA_EXPORT const struct ga_object *ga_object_parent(const struct ga_object *);
/* "file:line" of its first part. */
GA_EXPORT const char *ga_object_where(const struct ga_object *);
/* A small number, unique and stable within the snapshot (for tables). */
GA_EXPORT uint32_t ga_object_index(const struct ga_object *);
/* True when that very block writes this directive. */
GA_EXPORT bool ga_object_has(const struct ga_object *, const char *module, const char *field);

/* A duration or a percentage as greenarrow.conf writes them ("1h30m", "25%"), for items of
 * lists with is=duration and for options. */
GA_EXPORT bool ga_conf_duration(struct ga_str, uint64_t *ms);
GA_EXPORT bool ga_conf_percent(struct ga_str, double *percent);
/* "25%" or a whole number, "25%" or "7200/hr": what is=percent_or_int and is=percent_or_rate
 * let through.  n: the percentage, the number, or how many a second. */
struct ga_amount { double n; bool percent; };
GA_EXPORT bool ga_conf_amount(struct ga_str, struct ga_amount *);

GA_END

#endif
