/*
 * config_directives.c - greenarrow_config directives: the language, from the modules
 *
 * Every module in the module directory (or those named) is asked by its
 * manifest, without being run.  As text for people, JSON for tools, or mdoc for
 * the manual pages, whose tables are made from this and nothing else.
 */
#include "config.h"

#include <ctype.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <json-c/json.h>

#include "conf/core_schema.h"
#include "greenarrow_config.h"

struct names {
	char **v;
	size_t n;
};

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void add_name(struct names *l, const char *s, size_t n)
{
	l->v = ga_xrealloc(l->v, (l->n + 1) * sizeof *l->v);
	l->v[l->n] = strndup(s, n);
	if (l->v[l->n++] == NULL)
		abort();
}

static void list_modules(const char *dir, struct names *l)
{
	DIR *d = opendir(dir);
	struct dirent *e;

	while (d != NULL && (e = readdir(d)) != NULL) {
		size_t n = strlen(e->d_name);

		if (n > 3 && strcmp(e->d_name + n - 3, ".so") == 0)
			add_name(l, e->d_name, n - 3);
	}
	if (d != NULL)
		closedir(d);
}

static void list_builtin(struct names *l)
{
	struct gac_conf_options o = { .file = NULL };
	struct ga_pool *pool = ga_pool_new(0);

	config_builtin(pool, &o);
	for (size_t i = 0; i < o.nbuiltin; i++)
		add_name(l, o.builtin[i].name, strlen(o.builtin[i].name));
	ga_pool_free(pool);
}

/* All modules by name, the core before them. */
static void list_all(const char *dir, struct names *l)
{
	add_name(l, GAC_CORE_MODULE, strlen(GAC_CORE_MODULE));
	list_modules(dir, l);
	list_builtin(l);
	qsort(l->v + 1, l->n - 1, sizeof *l->v, by_name);
}

/* The configuration that loads this one module (NULL: none), and nothing else. */
static struct gac_conf *load_one(const char *name, const char *module_directory)
{
	const char *const preload[] = { name, NULL };
	struct gac_conf_options o = {
		.file = "greenarrow_config", .text = "", .module_directory = module_directory,
		.preload = preload, .tables_only = true,
	};
	struct ga_diag *diag = gac_diag_new();
	struct ga_pool *pool = ga_pool_new(0);
	struct gac_conf *conf;

	config_builtin(pool, &o);
	conf = gac_conf_load(&o, diag);
	ga_pool_free(pool);
	gac_diag_print(diag, stderr);
	gac_diag_free(diag);
	return conf;
}

/* ---- the three forms */

static const char *type_text(struct ga_pool *pool, const struct gac_decl *d)
{
	const char *text = gac_type_name(d->type);

	if (d->nis > 0) {
		text = "";
		for (size_t i = 0; i < d->nis; i++)
			text = ga_fmt(pool, "%s%s%s", text, i > 0 ? " " : "", d->is[i].name).p;
		if (gac_decl_accumulates(d))
			text = ga_fmt(pool, "%s, ...", text).p;
	} else if (d->nchoices > 0) {
		text = "";
		for (size_t i = 0; i < d->nchoices; i++)
			text = ga_fmt(pool, "%s%s%.*s", text, i > 0 ? " | " : "", (int)d->choices[i].n, d->choices[i].p).p;
	} else if (d->type == GAC_T_FLAG) {
		text = "yes | no";
	}
	return text;
}

/* The help as the beginning of a sentence. */
static const char *help_text(struct ga_pool *pool, const struct gac_decl *d)
{
	return ga_fmt(pool, "%c%s", toupper((unsigned char)d->help[0]), d->help[0] == '\0' ? "" : d->help + 1).p;
}

static const char *limits_text(struct ga_pool *pool, const struct gac_decl *d)
{
	if (d->has_min && d->has_max)
		return ga_fmt(pool, "%s to %s", d->min_text, d->max_text).p;
	if (d->has_min)
		return ga_fmt(pool, "at least %s", d->min_text).p;
	return d->has_max ? ga_fmt(pool, "at most %s", d->max_text).p : "";
}

static const char *notes_text(struct ga_pool *pool, const struct gac_decl *d)
{
	const char *limits = limits_text(pool, d);
	const struct {
		bool on;
		const char *text;
	} notes[] = {
		{ d->required, "required" }, { d->unique, "unique" }, { d->unique_in_block, "unique in a block" },
		{ d->route, "not below mx: patterns" },
		{ d->restart, "a change needs a restart" },
		{ d->repeat || gac_decl_accumulates(d), "may be repeated" },
	};
	const char *text = gac_decl_in_template(d) ?
	    ga_fmt(pool, "in a throttle_template: " GAC_TEMPLATE_PREFIX "%s", d->field.p).p : "";

	if (d->dflt[0] != '\0')
		text = ga_fmt(pool, "%s%sdefault %s", text, text[0] != '\0' ? "; " : "", d->dflt).p;

	if (limits[0] != '\0')
		text = ga_fmt(pool, "%s%s%s", text, text[0] != '\0' ? "; " : "", limits).p;
	for (size_t i = 0; i < sizeof notes / sizeof notes[0]; i++)
		if (notes[i].on)
			text = ga_fmt(pool, "%s%s%s", text, text[0] != '\0' ? "; " : "", notes[i].text).p;
	return text;
}

static void print_text(struct ga_pool *pool, const struct gac_conf_module *m)
{
	if (m->index == 0)
		printf("core\n");
	else
		printf("module %s %s\n", m->name, m->manifest.version);
	for (size_t i = 0; i < m->ndecls; i++) {
		const struct gac_decl *d = &m->decls[i];
		const char *notes = notes_text(pool, d);

		printf("  %s %s\n      %s.\n      Context: %s%s%s.\n", d->field.p, type_text(pool, d),
		    help_text(pool, d), gac_context_names(pool, d->contexts), notes[0] != '\0' ? "; " : "", notes);
	}
	printf("\n");
}

/* A backslash, and a dot or quote at the start of a line, mean something in mdoc. */
static void print_roff(const char *s)
{
	if (*s == '.' || *s == '\'')
		fputs("\\&", stdout);
	for (; *s != '\0'; s++)
		if (*s == '\\')
			fputs("\\e", stdout);
		else
			fputc(*s, stdout);
}

static void print_man(struct ga_pool *pool, const struct gac_conf_module *m)
{
	if (m->ndecls == 0)
		return;
	printf(".Ss %s%s\n.Bl -tag -width Ds\n", m->index == 0 ? "Core" : "Module ", m->index == 0 ? "" : m->name);
	for (size_t i = 0; i < m->ndecls; i++) {
		const struct gac_decl *d = &m->decls[i];
		const char *notes = notes_text(pool, d);

		printf(".It Ic %s Ar ", d->field.p);
		print_roff(type_text(pool, d));
		printf("\n");
		print_roff(help_text(pool, d));
		printf(".\n.br\nContext:\n");
		print_roff(ga_fmt(pool, "%s%s%s.\n", gac_context_names(pool, d->contexts),
		    notes[0] != '\0' ? "; " : "", notes).p);
	}
	printf(".El\n");
}

static struct json_object *contexts_json(const struct gac_decl *d)
{
	struct json_object *list = json_object_new_array();

	for (int i = 0; i < GAC_NCONTEXTS; i++)
		if ((d->contexts & GAC_CTX_BIT(i)) != 0)
			json_object_array_add(list, json_object_new_string(gac_contexts[i].name));
	return list;
}

static void add_json(struct ga_pool *pool, struct json_object *all, const struct gac_conf_module *m)
{
	for (size_t i = 0; i < m->ndecls; i++) {
		const struct gac_decl *d = &m->decls[i];
		struct json_object *o = json_object_new_object();

		json_object_object_add(o, "module", json_object_new_string(m->name));
		json_object_object_add(o, "directive", json_object_new_string(d->field.p));
		json_object_object_add(o, "type", json_object_new_string(gac_type_name(d->type)));
		json_object_object_add(o, "default", json_object_new_string(d->dflt));
		json_object_object_add(o, "constraint", json_object_new_string(d->constraint));
		json_object_object_add(o, "contexts", contexts_json(d));
		if (gac_decl_in_template(d))
			json_object_object_add(o, "in_throttle_template", json_object_new_string(
			    ga_fmt(pool, GAC_TEMPLATE_PREFIX "%s", d->field.p).p));
		json_object_object_add(o, "help", json_object_new_string(d->help));
		json_object_array_add(all, o);
	}
}

struct output {
	const struct config_args *args;
	struct json_object *all;
};

static void print_module(const struct output *out, const struct gac_conf *conf, size_t index)
{
	struct ga_pool *pool = ga_pool_new(0);
	const struct gac_conf_module *m = conf->modules[index];

	if (out->all != NULL)
		add_json(pool, out->all, m);
	else if (out->args->man)
		print_man(pool, m);
	else
		print_text(pool, m);
	ga_pool_free(pool);
}

/* name: a module, a path, or "core".  False: refused, and said why. */
static bool print_named(const struct output *out, const char *name, const char *dir)
{
	bool core = strcmp(name, GAC_CORE_MODULE) == 0;
	struct gac_conf *conf = load_one(core ? NULL : name, dir);

	if (conf == NULL)
		return false;
	print_module(out, conf, core ? 0 : 1);
	gac_conf_free(conf);
	return true;
}

/* module_directory of the file when it can be used; modules are listed all the same if not. */
static char *directory_of(const struct config_args *a, const char *file)
{
	struct ga_diag *diag = gac_diag_new();
	struct gac_conf_options o = { .file = file, .module_directory = a->module_directory };
	struct ga_pool *pool = ga_pool_new(0);
	struct gac_conf *conf;
	char *dir;

	config_builtin(pool, &o);
	conf = access(file, R_OK) == 0 ? gac_conf_load(&o, diag) : NULL;
	ga_pool_free(pool);
	dir = strdup(conf != NULL ? conf->module_directory :
	    a->module_directory != NULL ? a->module_directory : GA_MODULEDIR);

	gac_conf_free(conf);
	gac_diag_free(diag);
	if (dir == NULL)
		abort();
	return dir;
}

int config_directives(const struct config_args *a, const char *file, char **modules, int n)
{
	struct output out = { a, a->json ? json_object_new_array() : NULL };
	char *dir = directory_of(a, file);
	struct names all = { NULL, 0 };
	bool ok = true;

	if (n == 0)
		list_all(dir, &all);
	for (int i = 0; i < n; i++)
		add_name(&all, modules[i], strlen(modules[i]));
	for (size_t i = 0; i < all.n; i++) {
		ok = print_named(&out, all.v[i], dir) && ok;
		free(all.v[i]);
	}
	free(all.v);
	if (out.all != NULL)
		printf("%s\n", json_object_to_json_string_ext(out.all,
		    JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED | JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(out.all);
	free(dir);
	return ok ? 0 : 1;
}
