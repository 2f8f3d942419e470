/*
 * ga_module.h - the one symbol a module exports, and the life of its instances.
 *
 * Code is loaded once and never unloaded.  An *instance* is a module with one
 * configuration.  On reload a module of level stable gets a new instance that
 * replaces the old one (check, init, adopt, start; then drain, stop, fini of
 * the old).  A module with GA_KEEP_INSTANCE keeps its one instance and is told
 * by reload() instead: for those that own what must not stop (queue, spool,
 * listeners, connections).
 *
 *   check   pure; gets the directives as the general block has them, for what their
 *           columns cannot say; also run by greenarrow_config validate in a child process
 *   init    main thread, before loops run (at a reload: main loop); privileges
 *           are dropped already, but ports below 1024 can be bound; false = refuse
 *           this configuration, after a line in the log that says why
 *   start   once per worker loop, on it
 *   drain   once per worker loop, on it: finish or hand back; hold the instance
 *           with ga_hold() while something is not finished
 *   stop    once per worker loop, on it: nothing may be left after it
 *   fini    main thread, after all loops stopped it
 */
#ifndef GREENARROW_GA_MODULE_H
#define GREENARROW_GA_MODULE_H

#include <greenarrow/ga_conf.h>
#include <greenarrow/ga_hook.h>

GA_BEGIN

enum ga_end { GA_END_DONE, GA_END_ABORTED, GA_END_DRAINED };

/* A command that works without the daemon: `greenarrow NAME`, run by greenarrowd
 * with the configuration loaded and checked, before init.  Returns the exit code. */
struct ga_command {
	const char *name;
	const char *arguments;		/* "[--json] [DIRECTORY]" */
	const char *help;
	int (*run)(struct ga_inst *, int argc, char **argv);
};

/* What a hook's settings are of: an smtp_service, or mail on its way out (VirtualMTA x domain). */
enum ga_scope { GA_SCOPE_SERVICE, GA_SCOPE_DELIVERY };

enum ga_module_flag {
	GA_KEEP_INSTANCE = 1,	/* one instance for the life of the process */
	GA_SERVICE_DIRECTORY = 2	/* it works in ga_path(GA_PATH_SERVICE): made before init and
				   given to the daemon's user, as queue, log and run are */
};

struct ga_module {
	struct ga_abi_head head;

	const char *manifest;		/* the text in section .greenarrow */
	const char *version;		/* the module's own, "1.4.2" */
	const char *summary;		/* one line */
	const char *scopes;		/* "smtp_service domain": where use_module may name it */
	const struct ga_conf_schema *conf;	/* NULL: no directives */
	const struct ga_hooks *hooks;
	const struct ga_stat *stats;
	uint32_t nstats;
	uint32_t flags;			/* enum ga_module_flag */
	const char *const *after;	/* names that must be loaded earlier, if loaded */
	const char *const *needs;	/* names that must be loaded */
	const struct ga_command *commands;	/* ends with a NULL name */

	/* zeroed memory the core keeps for each instance, per object */
	uint32_t inst_size, worker_size, session_size, txn_size;
	/* enum ga_verdict a failed or late ask means; 0 = TEMPFAIL; ACCEPT = it does not matter:
	 * as if the module had said PASS */
	uint32_t on_failure;

	bool (*check)(const void *conf, struct ga_diag *);
	bool (*init)(struct ga_inst *, const void *conf);
	void (*fini)(struct ga_inst *);
	void (*adopt)(struct ga_inst *now, struct ga_inst *before);
	bool (*start)(struct ga_inst *, struct ga_worker *);
	void (*drain)(struct ga_inst *, struct ga_worker *, uint64_t until_ms);
	void (*stop)(struct ga_inst *, struct ga_worker *);

	/* GA_KEEP_INSTANCE: a new snapshot is in force.  reload: main loop, may still
	 * refuse (false, with a line in the log) before anything changed; reloaded: on
	 * each worker loop, after the swap. */
	bool (*reload)(struct ga_inst *, const void *conf);
	void (*reloaded)(struct ga_inst *, struct ga_worker *);

	/* The object is going away; its state is freed after this returns.  Once for each
	 * object whose state the module has asked for with ga_call_state(). */
	void (*session_end)(struct ga_inst *, struct ga_session *, void *state, enum ga_end);
	void (*txn_end)(struct ga_inst *, struct ga_txn *, void *state, enum ga_end);

	/* From here on: ABI 1.2.  False: with these settings the module has nothing to do, and
	 * none of its hooks is called in a scope that has them.  Asked once a scope, of a module
	 * that is switched on there; any thread; pure.  NULL: it always has. */
	bool (*wants)(const void *conf);

	/* From here on: ABI 1.4.  Memory for each outgoing connection, and its end: like session_size
	 * and session_end. */
	uint32_t connection_size;
	void (*connection_end)(struct ga_inst *, void *state);
	/* As wants, for one hook: false: that hook is not called in such a scope. */
	bool (*wants_hook)(const void *conf, enum ga_scope, const char *hook);
};

/* The memory of inst_size and worker_size octets; the instance's pool (main
 * thread, init and fini only). */
GA_EXPORT void *ga_inst_state(struct ga_inst *);
GA_EXPORT void *ga_worker_state(struct ga_inst *, struct ga_worker *);
GA_EXPORT struct ga_pool *ga_inst_pool(struct ga_inst *);
GA_EXPORT const char *ga_inst_name(const struct ga_inst *);

/* Directories of the installation as configured; lives as long as the process. */
enum ga_path { GA_PATH_QUEUE, GA_PATH_LOG, GA_PATH_RUN, GA_PATH_CONTROL, GA_PATH_MODULE,
	GA_PATH_SERVICE /* ABI 1.5 */ };
GA_EXPORT const char *ga_path(enum ga_path);
/* `hostname` of the general block (default: the system's), and the release. */
GA_EXPORT const char *ga_hostname(void);
GA_EXPORT const char *ga_version(void);

/* Keep a draining instance alive; what for is shown to the operator.  Any loop. */
struct ga_hold;
GA_EXPORT struct ga_hold *ga_hold(struct ga_inst *, const char *what_for);
GA_EXPORT void ga_unhold(struct ga_hold *);

/*
 * GA_MODULE(name, "1.0.0", "smtp_service domain", HOOKS, DIRECTIVES, .init = ...)
 *
 * HOOKS is a list X(hook, function) or GA_NO_HOOKS; DIRECTIVES the list of
 * ga_conf.h or GA_NO_DIRECTIVES.  Defines the hook table, the descriptor and, in
 * section .greenarrow, the same facts as flat text between \002 and \003, which
 * greenarrow_config reads without loading the file.  The descriptor points at
 * the text, so that no linker drops it.
 */
#define GA_STR1_(x) #x
#define GA_STR2_(x) GA_STR1_(x)
#define GA_HK_INIT_(hook, fn) .hook = fn,
#define GA_HK_TEXT_(hook, fn) "hook\t" #hook "\n"
#define GA_NO_HOOKS(X)
#define GA_NO_DIRECTIVES(X)

#ifndef GA_LEVEL
#define GA_LEVEL GA_ABI_STABLE
#endif

#define GA_MODULE(mname, ver, scope_list, HOOKS, DIRECTIVES, ...)			\
	static const char ga_manifest_##mname[]					\
	    __attribute__((section(".greenarrow"), used)) =			\
	    "GreenArrowModule\002"						\
	    "name\t" #mname "\n"						\
	    "version\t" ver "\n"						\
	    "abi\t" GA_STR2_(GA_ABI_MAJOR) "." GA_STR2_(GA_ABI_MINOR)		\
	    "\t" GA_STR2_(GA_LEVEL) "\t" GA_BUILD_ID "\n"			\
	    "scopes\t" scope_list "\n"						\
	    HOOKS(GA_HK_TEXT_)							\
	    "directives\n" DIRECTIVES(GA_CF_TEXT_) "\003";			\
	static const struct ga_hooks ga_hooks_##mname = {			\
		.size = (uint32_t)sizeof(struct ga_hooks),			\
		HOOKS(GA_HK_INIT_)						\
	};									\
	GA_EXPORT extern const struct ga_module mname##_LTX_ga_module;		\
	const struct ga_module mname##_LTX_ga_module = {			\
		.head = { GA_MAGIC, GA_ABI_MAJOR, GA_ABI_MINOR,			\
			  (uint32_t)sizeof(struct ga_module), GA_LEVEL,		\
			  #mname, GA_BUILD_ID },				\
		.manifest = ga_manifest_##mname,				\
		.version = ver,							\
		.scopes = scope_list,						\
		.hooks = &ga_hooks_##mname,					\
		__VA_ARGS__							\
	}

GA_END

#endif
