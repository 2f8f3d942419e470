/*
 * conf.c - read and check a greenarrow.conf, from text to a checked configuration
 *
 * The order matters: the tree first; then the directories that decide where
 * modules and relative paths are; then load_module; then all other statements
 * against what the modules declare.  Called by the daemons (main thread, never
 * on a loop), greenarrow_config and tests.  The result is read-only.
 */
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conf/conf_tree.h"
#include "conf/core_schema.h"

/* The build passes the installed layout; these are the documented defaults. */
#ifndef GA_CONTROLDIR
#define GA_CONTROLDIR "/var/hvmail/control"
#define GA_QUEUEDIR "/var/hvmail/queue"
#define GA_LOGDIR "/var/hvmail/log"
#define GA_RUNDIR "/var/hvmail/run"
#define GA_SERVICEDIR "/var/hvmail/service"
#define GA_SERVICEDIR "/var/hvmail/service"
#define GA_MODULEDIR "/var/hvmail/lib/greenarrow/modules"
#endif

static const char *or_else(const char *given, const char *dflt)
{
	return given != NULL ? given : dflt;
}

/* The last value of a directive of `general` before schemas are known. */
static const struct gac_word *early(const struct gac_stmt *top, const char *name)
{
	const struct gac_word *found = NULL;

	for (const struct gac_stmt *g = top; g != NULL; g = g->next) {
		if (!ga_str_eq(g->name.text, GA_STR("general")))
			continue;
		for (const struct gac_stmt *s = g->children; s != NULL; s = s->next)
			if (!s->block && s->nwords == 1 && ga_str_eq(s->name.text, ga_str_c(name)))
				found = &s->words[0];
	}
	return found;
}

/* control_directory itself, when relative, starts at the folder of the file. */
static const char *control_directory(struct ga_pool *pool, const struct gac_stmt *top,
	const char *file, const char *otherwise)
{
	const struct gac_word *w = early(top, "control_directory");
	char *real, *slash;
	const char *path;

	if (w == NULL || w->text.n == 0)
		return ga_dup(pool, ga_str_c(otherwise)).p;
	if (w->text.p[0] == '/')
		return ga_dup(pool, w->text).p;
	real = realpath(file, NULL);
	slash = real == NULL ? NULL : strrchr(real, '/');
	path = slash == NULL ? ga_dup(pool, w->text).p :
	    ga_fmt(pool, "%.*s/%.*s", (int)(slash - real), real, (int)w->text.n, w->text.p).p;
	free(real);
	return path;
}

static void find_directories(struct gac_conf *conf, const struct gac_stmt *top)
{
	const struct gac_word *w = early(top, "module_directory");
	struct gac_kind_env env = { .pool = conf->pool };

	env.control_directory = conf->control_directory = control_directory(conf->pool, top,
	    conf->file->name, or_else(conf->options->control_directory, GA_CONTROLDIR));
	conf->module_directory = w != NULL ? gac_path_absolute(&env, w->text).p :
	    ga_dup(conf->pool, ga_str_c(or_else(conf->options->module_directory, GA_MODULEDIR))).p;
}

/* Modules may belong to root, to who runs us, and to who the daemon becomes. */
static void find_owners(struct gac_conf *conf, const struct gac_stmt *top)
{
	const struct gac_word *w = early(top, "run_as_user");
	const char *name = w == NULL ? NULL : ga_cstr(conf->pool, w->text);
	struct passwd pw, *found = NULL;
	char buf[4096];

	conf->owners.uid[conf->owners.n++] = geteuid();
	if (name == NULL || conf->options->no_files)
		return;
	if (getpwnam_r(name, &pw, buf, sizeof buf, &found) == 0 && found != NULL)
		conf->owners.uid[conf->owners.n++] = pw.pw_uid;
}

static void set_default(struct gac_conf *conf, const char *field, const char *text)
{
	const struct gac_decl *found = gac_decl_find(conf, GAC_CORE_MODULE, field);
	struct gac_decl *d = conf->decls[found->index];

	d->dflt = ga_dup(conf->pool, ga_str_c(text)).p;
	d->dvalue.str = ga_str_c(d->dflt);
}

/* What is known only here and now: folders and names of this machine. */
static void set_core_defaults(struct gac_conf *conf)
{
	const struct gac_conf_options *o = conf->options;
	char host[256] = "localhost";

	gethostname(host, sizeof host - 1);
	set_default(conf, "control_directory", or_else(o->control_directory, GA_CONTROLDIR));
	set_default(conf, "module_directory", or_else(o->module_directory, GA_MODULEDIR));
	set_default(conf, "queue_directory", or_else(o->queue_directory, GA_QUEUEDIR));
	set_default(conf, "log_directory", or_else(o->log_directory, GA_LOGDIR));
	set_default(conf, "run_directory", or_else(o->run_directory, GA_RUNDIR));
	set_default(conf, "service_directory", GA_SERVICEDIR);
	set_default(conf, "hostname", host);
}

static void patch(struct gac_conf *conf, const char *field, struct ga_str value)
{
	const struct gac_decl *d = gac_decl_find(conf, GAC_CORE_MODULE, field);
	const struct gac_setting *s = gac_object_setting(conf->general, d);

	for (size_t i = 0; s != NULL && i < conf->general->nsettings; i++)
		if (conf->general->settings[i] == s)
			conf->general->settings[i]->value.str = value;
}

/* server_id follows hostname; control_directory was resolved by other rules. */
static void finish_core(struct gac_conf *conf)
{
	const struct gac_decl *hostname = gac_decl_find(conf, GAC_CORE_MODULE, "hostname");
	const struct gac_setting *s = gac_lookup(conf, hostname, NULL, 0);

	set_default(conf, "server_id", s == NULL ? hostname->dflt : ga_dup(conf->pool, s->value.str).p);
	patch(conf, "control_directory", ga_str_c(conf->control_directory));
}

static void check_tree(struct gac_conf *conf, struct ga_diag *diag, const struct gac_stmt *top)
{
	find_directories(conf, top);
	find_owners(conf, top);
	gac_strmap_init(&conf->decl_names, conf->pool, false);
	gac_strmap_init(&conf->module_names, conf->pool, false);
	gac_modules_load(conf, diag, top);
	if (conf->options->tables_only)
		return;
	set_core_defaults(conf);
	gac_objects_build(conf, diag, top);
	gac_rules_check(conf, diag);
	finish_core(conf);
}

struct gac_conf *gac_conf_load(const struct gac_conf_options *options, struct ga_diag *diag)
{
	struct ga_pool *pool = ga_pool_new(64 * 1024);
	struct gac_conf *conf = ga_alloc(pool, sizeof *conf);
	size_t before = gac_diag_errors(diag);
	struct gac_tree tree;

	conf->pool = pool;
	conf->options = options;
	conf->files = !options->no_files;
	gac_tree_init(&tree, pool, diag);
	tree.no_files = options->no_files;
	conf->file = options->text != NULL ?
	    gac_tree_text(&tree, options->file, (struct ga_str){ options->text, options->text_size }) :
	    gac_tree_read(&tree, options->file);
	if (tree.top.first != NULL || gac_diag_errors(diag) == before)
		check_tree(conf, diag, tree.top.first);
	conf->options = NULL;
	if (gac_diag_errors(diag) == before)
		return conf;
	gac_conf_free(conf);
	return NULL;
}

void gac_conf_free(struct gac_conf *conf)
{
	if (conf != NULL)
		ga_pool_free(conf->pool);
}

size_t gac_conf_modules(const struct gac_conf *conf)
{
	return conf->nmodules - 1;
}

const struct gac_manifest *gac_conf_manifest(const struct gac_conf *conf, size_t i)
{
	return &conf->modules[i + 1]->manifest;
}

const char *gac_conf_module_name(const struct gac_conf *conf, size_t i)
{
	return conf->modules[i + 1]->name;
}

const struct gac_pos *gac_conf_module_pos(const struct gac_conf *conf, size_t i)
{
	return &conf->modules[i + 1]->pos;
}

bool gac_conf_directive_pos(const struct gac_conf *conf, size_t i, const char *directive,
    struct gac_pos *pos)
{
	const struct gac_decl *d = gac_decl_find(conf, conf->modules[i + 1]->name, directive);
	const struct gac_setting *s = d != NULL ? gac_lookup(conf, d, NULL, 0) : NULL;

	if (s != NULL)
		*pos = s->last->name.pos;
	return s != NULL;
}

/* Reads the file, whatever is wrong in it; false: it cannot be read. */
static bool read_loosely(struct ga_pool *pool, const char *file, struct gac_tree *tree)
{
	struct ga_diag *diag = gac_diag_new();
	FILE *f = fopen(file, "re");

	if (f != NULL) {
		fclose(f);
		gac_tree_init(tree, pool, diag);
		gac_tree_read(tree, file);
	}
	gac_diag_free(diag);
	return f != NULL;
}

/* The value of a directive of `general` that names a folder. */
static const char *loose_directory(struct ga_pool *pool, const char *file, const char *name, const char *dflt)
{
	const struct gac_word *w;
	struct gac_tree tree;

	if (!read_loosely(pool, file, &tree))
		return NULL;
	w = early(tree.top.first, name);
	return w != NULL && w->text.n > 0 && w->text.p[0] == '/' ? ga_dup(pool, w->text).p : dflt;
}

const char *gac_conf_run_directory(struct ga_pool *pool, const char *file)
{
	return loose_directory(pool, file, "run_directory", GA_RUNDIR);
}

const char *gac_conf_log_directory(struct ga_pool *pool, const char *file)
{
	return loose_directory(pool, file, "log_directory", GA_LOGDIR);
}

const char *gac_conf_control_directory(struct ga_pool *pool, const char *file)
{
	struct gac_tree tree;

	return read_loosely(pool, file, &tree) ?
	    control_directory(pool, tree.top.first, file, GA_CONTROLDIR) : NULL;
}
