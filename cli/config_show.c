/*
 * config_show.c - greenarrow_config show: the settings in force, each with its origin
 *
 * For a VirtualMTA and a domain it prints what the resolver gives the daemon;
 * without them what holds in general.  A line is valid greenarrow.conf with the
 * place it came from as a comment.  No module is loaded: values are printed as
 * they were written, so none has to be turned back from C.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <json-c/json.h>

#include "conf/core_schema.h"
#include "conf/snapshot.h"
#include "greenarrow_config.h"

#define MAX_MX 64

struct show {
	const struct config_args *args;
	struct gac_conf *conf;
	struct ga_pool *pool;
	const struct ga_settings *settings;
	unsigned contexts;		/* whose directives are of interest */
	struct json_object *list;
};

struct ga_str config_written(struct ga_pool *pool, const struct gac_decl *d, const struct gac_setting *s)
{
	struct ga_str text = GA_STR("");

	if (d->type == GAC_T_SECRET && (s != NULL || d->dflt[0] != '\0'))
		return GA_STR("***");
	if (s == NULL)
		return ga_str_c(d->dflt);
	if (!gac_decl_accumulates(d))
		return s->last->written;
	for (const struct gac_part *p = s->parts; p != NULL; p = p->next)
		text = ga_fmt(pool, "%.*s%s%.*s", (int)text.n, text.p, text.n > 0 ? ", " : "",
		    (int)p->stmt->written.n, p->stmt->written.p);
	return text;
}

/* "a.conf:3", for lists "a.conf:3, b.conf:1" */
static const char *origin(struct ga_pool *pool, const struct gac_decl *d, const struct gac_setting *s)
{
	const char *text = "";

	if (s == NULL)
		return "default";
	if (!gac_decl_accumulates(d))
		return s->last->where;
	for (const struct gac_part *p = s->parts; p != NULL; p = p->next)
		text = ga_fmt(pool, "%s%s%s", text, text[0] != '\0' ? ", " : "", p->stmt->where).p;
	return text;
}

static void add_json(struct show *w, const struct gac_decl *d, const struct gac_setting *s,
    struct ga_str value)
{
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, "module", json_object_new_string(d->module->name));
	json_object_object_add(o, "directive", json_object_new_string(d->field.p));
	json_object_object_add(o, "value", json_object_new_string_len(value.p, (int)value.n));
	json_object_object_add(o, "block", s == NULL ? NULL :
	    json_object_new_string(gac_object_title(w->pool, s->object)));
	json_object_object_add(o, "source", json_object_new_string(origin(w->pool, d, s)));
	json_object_array_add(w->list, o);
}

static void show_one(struct show *w, const struct gac_decl *d)
{
	const struct ga_object *const *blocks;
	size_t n = gac_settings_blocks(w->settings, &blocks);
	const struct gac_setting *s = gac_lookup(w->conf, d, blocks, n);
	struct ga_str value = config_written(w->pool, d, s);
	const char *from = origin(w->pool, d, s);

	if (w->list != NULL)
		add_json(w, d, s, value);
	else if (value.n == 0)
		printf("# %-50s # not set\n", d->field.p);
	else
		printf("%-52s # %s%s%s\n", ga_fmt(w->pool, "%s %.*s", d->field.p, (int)value.n, value.p).p, from,
		    s == NULL ? "" : ", ", s == NULL ? "" : gac_object_title(w->pool, s->object));
}

/* use_module is told by the modules' lines, load_module and include by the file, domains
 * by the rule that a value comes from. */
static bool of_interest(const struct show *w, const struct gac_decl *d)
{
	static const char *const untold[] = { "use_module", "include", "load_module", "domains" };

	for (size_t i = 0; d->module->index == 0 && i < sizeof untold / sizeof untold[0]; i++)
		if (strcmp(d->field.p, untold[i]) == 0)
			return false;
	if (gac_decl_of_routing_rules(d))
		return (w->contexts & GAC_CTX_BIT(GAC_CTX_ROUTING_RULE)) != 0;
	return (d->contexts & w->contexts) != 0;
}

static void show_modules(struct show *w, struct json_object *doc)
{
	struct json_object *map = json_object_new_object();
	size_t n = gac_conf_modules(w->conf);

	for (size_t i = 0; i < n; i++)
		json_object_object_add(map, gac_conf_module_name(w->conf, i),
		    json_object_new_boolean(gac_settings_enabled(w->settings, i)));
	json_object_object_add(doc, "modules", map);
}

static void show_all(struct show *w)
{
	const struct gac_conf_module *last = NULL;

	for (size_t i = 0; i < w->conf->ndecls; i++) {
		const struct gac_decl *d = w->conf->decls[i];

		if (!of_interest(w, d))
			continue;
		if (w->list == NULL && d->module != last)
			printf("%s# module %s%s\n", last == NULL ? "" : "\n", d->module->name,
			    d->module->index == 0 || gac_settings_enabled(w->settings, d->module->index - 1) ? "" :
			    " (use_module: off here)");
		last = d->module;
		show_one(w, d);
	}
}

static void add_string(struct json_object *doc, const char *key, const char *value)
{
	json_object_object_add(doc, key, value == NULL ? NULL : json_object_new_string(value));
}

static void show_json(struct show *w)
{
	struct json_object *doc = json_object_new_object();

	add_string(doc, "virtual_mta", w->args->virtual_mta);
	add_string(doc, "domain", w->args->domain);
	add_string(doc, "smtp_service", w->args->smtp_service);
	show_modules(w, doc);
	w->list = json_object_new_array();
	show_all(w);
	json_object_object_add(doc, "settings", w->list);
	printf("%s\n", json_object_to_json_string_ext(doc,
	    JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED | JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(doc);
}

static size_t mx_names(const char *text, struct ga_str *v)
{
	struct ga_str rest = ga_str_c(text), name;
	size_t n = 0;

	while (text != NULL && n < MAX_MX && gac_split(&rest, ',', &name))
		if (ga_str_trim(name).n > 0)
			v[n++] = ga_str_trim(name);
	return n;
}

static int no_such(const struct show *w, const char *what, const char *name)
{
	fprintf(stderr, "%s: there is no %s `%s`\n", w->args->argv0, what, name);
	return 1;
}

/* Finds the settings asked for; 0, or the exit code. */
static int find_settings(struct show *w, struct ga_snapshot *snap)
{
	const unsigned general = GAC_CTX_BIT(GAC_CTX_TOP) | GAC_CTX_BIT(GAC_CTX_GENERAL) |
	    GAC_CTX_BIT(GAC_CTX_MODULE);
	const unsigned vmta = GAC_CTX_BIT(GAC_CTX_IP_ADDRESS) | GAC_CTX_BIT(GAC_CTX_RELAY_SERVER) |
	    GAC_CTX_BIT(GAC_CTX_ROUTING_RULE);
	const struct config_args *a = w->args;
	struct ga_str domain = GA_STR(""), mx[MAX_MX];
	const struct ga_object *o = NULL;
	const char *why;

	if (a->smtp_service != NULL) {
		o = ga_object_find(snap, "smtp_service", ga_str_c(a->smtp_service));
		if (o == NULL)
			return no_such(w, "smtp_service", a->smtp_service);
		w->settings = ga_snapshot_object(snap, o);
		w->contexts = GAC_CTX_BIT(GAC_CTX_SMTP_SERVICE);
		return 0;
	}
	w->settings = ga_snapshot_general(snap);
	w->contexts = general;
	if (a->virtual_mta == NULL && a->domain == NULL)
		return 0;
	if (a->virtual_mta != NULL)
		o = gac_object_find(w->conf, vmta, ga_str_c(a->virtual_mta));
	if (a->virtual_mta != NULL && o == NULL)
		return no_such(w, "VirtualMTA", a->virtual_mta);
	why = a->domain == NULL ? NULL : gac_domain_normalize(w->pool, ga_str_c(a->domain), &domain);
	if (why != NULL) {
		fprintf(stderr, "%s: --domain: `%s` %s\n", a->argv0, a->domain, why);
		return 1;
	}
	w->settings = ga_snapshot_resolve(snap, ga_str_c(a->virtual_mta), domain, mx, mx_names(a->mx, mx));
	w->contexts = GAC_CTX_BIT(GAC_CTX_DOMAIN) |
	    (o == NULL ? GAC_CTX_BIT(GAC_CTX_IP_ADDRESS) : GAC_CTX_BIT(o->context->id));
	if ((w->contexts & GAC_CTX_BIT(GAC_CTX_IP_ADDRESS)) != 0)
		w->contexts |= GAC_CTX_BIT(GAC_CTX_THROTTLE_TEMPLATE) | GAC_CTX_BIT(GAC_CTX_RULE);
	return 0;
}

int config_show(const struct config_args *a, const char *file)
{
	struct show w = { .args = a, .conf = config_load(file, a->module_directory) };
	struct ga_snapshot *snap;
	int rc;

	if (w.conf == NULL)
		return 1;
	snap = gac_snapshot_new(w.conf, NULL);
	w.pool = ga_pool_new(0);
	rc = find_settings(&w, snap);
	if (rc == 0 && a->json)
		show_json(&w);
	else if (rc == 0)
		show_all(&w);
	ga_pool_free(w.pool);
	ga_snapshot_unref(snap);
	return rc;
}
