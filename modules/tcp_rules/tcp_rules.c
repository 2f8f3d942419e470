/*
 * tcp_rules.c - the module: access rules by a client's address, as tcpserver has them.
 *
 * In the hook connect, on the session's loop, the one rule that holds for the client is looked up
 * (lookup.c) in the database that its smtp_service names (files.c), and either turns the client away or
 * sets the session's variables.  What these do is the business of others: smtp_server, smtp_log.
 *
 * A service whose database could never be read refuses its configuration: without its
 * rules nobody knows who was to be kept out.
 */
#define GA_LEVEL GA_ABI_STRICT
#include <sys/stat.h>

#include <greenarrow/run.h>

#include "files.h"
#include "lookup.h"

#define TCP_RULES_DIRECTIVES(X)								\
	X(path, tcp_rules, "", "", "smtp_service",					\
	    "rules by the client's address, made by hvmail_update_tcprules: the file's name, with or without .cdb")

GA_CONF_STRUCT(tcp_rules_conf, TCP_RULES_DIRECTIVES);
#define GA_CF_SELF_ struct tcp_rules_conf
GA_CONF_SCHEMA(tcp_rules_conf, TCP_RULES_DIRECTIVES);

struct tcp_rules {
	struct tcpr_files *files;
};

#define S(s) (int)(s).n, (s).p

/* --- a client --- */

/* False: it is turned away. */
static bool
follow(struct ga_session *s, struct ga_str data)
{
	struct tcpr_item item;
	bool welcome = true, bad;

	while (tcpr_item_next(&data, &item, &bad))
		switch (item.what) {
		case TCPR_DENY:
			welcome = false;
			break;
		case TCPR_SET:
			ga_session_variable_set(s, item.name, item.value);
			break;
		case TCPR_UNSET:
			ga_session_variable_unset(s, item.name);
			break;
		}
	return welcome;
}

static enum ga_verdict
turn_away(struct ga_call *call, const struct ga_ev_connect *ev, const char *key)
{
	ga_call_log(call, GA_INFO, "GA-TCPR-0005", "smtp_service %.*s: %.*s is denied by rule `%s`", S(ev->service),
	    S(ev->peer.text), key);
	ga_reply(call, 554, "5.7.1", "Access denied");
	return GA_CLOSE;
}

static enum ga_verdict
on_connect(struct ga_call *call, const struct ga_ev_connect *ev)
{
	struct tcp_rules *m = ga_inst_state(ga_call_inst(call));
	const struct tcp_rules_conf *conf = ga_call_conf(call);
	struct ga_pool *pool = ga_call_pool(call, GA_LIFE_CALL);
	struct tcpr_db *db = tcpr_files_get(m->files, tcpr_database_path(pool, conf->tcp_rules));
	struct ga_str ip = ev->unnamed ? GA_STR("") : ev->peer.text, data;
	enum ga_verdict v = GA_PASS;
	char key[TCPR_KEY];

	if (db == NULL) {		/* never: init and reload have seen it */
		ga_reply(call, 421, "4.3.5", "Access rules cannot be read");
		return GA_CLOSE;
	}
	if (tcpr_lookup(db, ip, key, &data) && !follow(ev->s, data))
		v = turn_away(call, ev, key);
	tcpr_db_unref(db);
	return v;
}

/* --- life --- */

typedef bool service_fn(void *arg, struct ga_str service, const char *where, const char *database);

/* Each service that names a file; false when fn has been false for one. */
static bool
each_service(service_fn *fn, void *arg)
{
	struct ga_snapshot *s = ga_snapshot_current();
	const struct ga_object *block = ga_object_first(s, NULL, "smtp_service");
	struct ga_pool *pool = ga_pool_new(0);
	bool good = true;

	for (; block != NULL; block = ga_object_next(block)) {
		const struct ga_settings *settings = ga_snapshot_object(s, block);
		const struct tcp_rules_conf *conf = ga_settings_conf(settings, "tcp_rules");

		if (conf->tcp_rules.n > 0)
			good &= fn(arg, ga_object_name(block), ga_settings_where(settings, "tcp_rules", "tcp_rules"),
			    tcpr_database_path(pool, conf->tcp_rules).p);
	}
	ga_pool_free(pool);
	ga_snapshot_unref(s);
	return good;
}

/* Rules that were changed and not compiled since are not in force, which is easily forgotten. */
static void
warn_of_newer_rules(struct ga_diag *diag, const char *database)
{
	struct ga_pool *pool = ga_pool_new(0);
	struct ga_str path = ga_str_c(database);
	struct stat rules, compiled;
	const char *name;

	path.n -= GA_STR(".cdb").n;
	name = ga_cstr(pool, path);
	if (stat(name, &rules) == 0 && stat(database, &compiled) == 0 &&
	    (rules.st_mtim.tv_sec > compiled.st_mtim.tv_sec || (rules.st_mtim.tv_sec == compiled.st_mtim.tv_sec &&
	    rules.st_mtim.tv_nsec > compiled.st_mtim.tv_nsec)))
		ga_diag_warn_at(diag, name, 0, 0, "newer than its database: what was changed is not in force, see hvmail_update_tcprules");
	ga_pool_free(pool);
}

static bool
check_service(void *arg, struct ga_str service, const char *where, const char *database)
{
	const char *why = NULL;
	struct tcpr_db *db = tcpr_db_read(database, &why);

	if (db == NULL)
		ga_diag_error_at(arg, database, 0, 0, "%s; smtp_service %.*s needs it (%s): see hvmail_update_tcprules", why,
		    S(service), where);
	else
		warn_of_newer_rules(arg, database);
	tcpr_db_unref(db);
	return db != NULL;
}

static bool
take_service(void *arg, struct ga_str service, const char *where, const char *database)
{
	struct ga_inst *inst = arg;
	struct tcp_rules *m = ga_inst_state(inst);
	const char *why = NULL;

	if (tcpr_files_take(m->files, database, &why))
		return true;
	ga_log(inst, GA_ERR, "GA-TCPR-0006", "%s: %s; smtp_service %.*s needs it (%s): see hvmail_update_tcprules", database, why,
	    S(service), where);
	return false;
}

static bool
rules_wants(const void *conf)
{
	return ((const struct tcp_rules_conf *)conf)->tcp_rules.n > 0;
}

static bool
rules_check(const void *conf, struct ga_diag *diag)
{
	return each_service(check_service, diag);
}

static void
rules_fini(struct ga_inst *inst)
{
	struct tcp_rules *m = ga_inst_state(inst);

	tcpr_files_free(m->files);
	m->files = NULL;
}

static bool
rules_init(struct ga_inst *inst, const void *conf)
{
	struct tcp_rules *m = ga_inst_state(inst);

	m->files = tcpr_files_new(inst);
	if (m->files != NULL && each_service(take_service, inst))
		return true;
	rules_fini(inst);
	return false;
}

static bool
rules_reload(struct ga_inst *inst, const void *conf)
{
	return each_service(take_service, inst);
}

#define TCP_RULES_HOOKS(X) X(connect, on_connect)

GA_MODULE(tcp_rules, "1.0.0", "smtp_service", TCP_RULES_HOOKS, TCP_RULES_DIRECTIVES,
    .summary = "access rules by the client's address: who is turned away, variables of sessions",
    .conf = &tcp_rules_conf_schema,
    .flags = GA_KEEP_INSTANCE,
    .inst_size = sizeof(struct tcp_rules),
    .on_failure = GA_TEMPFAIL,
    .wants = rules_wants,
    .check = rules_check,
    .init = rules_init,
    .reload = rules_reload,
    .fini = rules_fini);
