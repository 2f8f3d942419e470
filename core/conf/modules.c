/*
 * modules.c - load_module: which modules a configuration names, and what they declare
 *
 * Finds each module, reads and judges its manifest, and registers its
 * directives.  No module code runs; the loader does that later with what is
 * found here.  Called by gac_conf_load() before any other directive is looked
 * at; one thread.
 *
 * When a directive is unknown, the manifests of all modules in the module
 * directory are read once, to say which load_module line is missing.
 */
#include <dirent.h>
#include <stdio.h>
#include <string.h>

#include "conf/conf_tree.h"
#include "conf/core_schema.h"
#include "conf/nearest.h"

static const struct gac_manifest_text *builtin_find(const struct gac_conf *conf, struct ga_str name)
{
	for (size_t i = 0; i < conf->options->nbuiltin; i++)
		if (ga_str_eq(name, ga_str_c(conf->options->builtin[i].name)))
			return &conf->options->builtin[i];
	return NULL;
}

/* NULL or the reason; *name is what the module is called. */
static const char *find_manifest(const struct gac_conf *conf, struct ga_str word, struct gac_manifest *m)
{
	const struct gac_manifest_text *b = builtin_find(conf, word);
	bool by_path = word.n > 0 && word.p[0] == '/';
	const char *path;
	const char *why;

	*m = (struct gac_manifest){ .level = -1 };
	if (b != NULL)
		return gac_manifest_parse(conf->pool, b->text, m);
	if (!by_path && !gac_module_name_ok(word))
		return "is neither a name (a-z, 0-9, _) nor an absolute path";
	if (conf->options->no_files)
		return "is not linked into this program";
	path = by_path ? ga_cstr(conf->pool, word) :
	    ga_fmt(conf->pool, "%s/%.*s.so", conf->module_directory, (int)word.n, word.p).p;
	if (path == NULL)
		return "is not the name of a file";
	why = gac_manifest_read(conf->pool, path, by_path ? NULL : conf->module_directory,
	    &conf->owners, m);
	return why;
}

/* The names of .so files in the module directory, for a hint. */
static const char *nearest_module(const struct gac_conf *conf, struct ga_str typed)
{
	struct gac_nearest near;
	struct dirent *e;
	DIR *dir;

	gac_nearest_init(&near, typed);
	for (size_t i = 0; i < conf->options->nbuiltin; i++)
		gac_nearest_offer(&near, ga_str_c(conf->options->builtin[i].name));
	dir = conf->options->no_files ? NULL : opendir(conf->module_directory);
	while (dir != NULL && (e = readdir(dir)) != NULL) {
		struct ga_str name = ga_str_c(e->d_name);

		if (!ga_str_ends(name, GA_STR(".so")))
			continue;
		name.n -= 3;
		gac_nearest_offer(&near, ga_dup(conf->pool, name));
	}
	if (dir != NULL)
		closedir(dir);
	return gac_nearest_hint(&near, conf->pool);
}

static struct gac_decl **decl_slot(struct gac_conf *conf)
{
	if ((conf->ndecls & (conf->ndecls + 1)) == 0) {
		struct gac_decl **v = ga_alloc(conf->pool, (conf->ndecls + 1) * 2 * sizeof *v);

		if (conf->ndecls > 0)
			memcpy(v, conf->decls, conf->ndecls * sizeof *v);
		conf->decls = v;
	}
	return &conf->decls[conf->ndecls];
}

static void register_decl(struct gac_conf *conf, struct ga_diag *diag, const struct gac_conf_module *m,
    struct gac_decl *d)
{
	struct gac_decl *first = gac_strmap_get(&conf->decl_names, d->field);

	for (const struct gac_decl *o = first; o != NULL; o = o->same) {
		if (o->module == m) {
			gac_diag_error_at(diag, &m->pos, "module %s: its table of directives is wrong: "
			    "%s is there twice", m->name, d->field.p);
			return;
		}
	}
	d->index = (unsigned)conf->ndecls;
	*decl_slot(conf) = d;
	conf->ndecls++;
	if (first == NULL) {
		gac_strmap_put(&conf->decl_names, d->field, d);
	} else {
		d->same = first->same;
		first->same = d;
	}
}

static void register_module(struct gac_conf *conf, struct ga_diag *diag, struct gac_conf_module *m,
    struct ga_str directives)
{
	struct gac_conf_module **v = ga_alloc(conf->pool, (conf->nmodules + 1) * sizeof *v);

	for (size_t i = 0; i < conf->nmodules; i++)
		v[i] = conf->modules[i];
	v[conf->nmodules] = m;
	conf->modules = v;
	m->index = (unsigned)conf->nmodules++;
	gac_strmap_put(&conf->module_names, ga_str_c(m->name), m);
	m->decls = gac_schema_read(conf->pool, diag, &m->pos, m, m->name, directives, &m->ndecls);
	for (size_t i = 0; i < m->ndecls; i++)
		register_decl(conf, diag, m, &m->decls[i]);
}

static const char *build_id(const struct gac_conf *conf)
{
	return conf->options->build_id != NULL ? conf->options->build_id : GA_BUILD_ID;
}

static void load(struct gac_conf *conf, struct ga_diag *diag, struct ga_str word,
    const struct gac_pos *pos)
{
	bool by_path = word.n > 0 && word.p[0] == '/';
	struct gac_conf_module *m = ga_alloc(conf->pool, sizeof *m), *known;
	const char *why = find_manifest(conf, word, &m->manifest);

	if (why == NULL)
		why = gac_manifest_accept(conf->pool, &m->manifest,
		    by_path ? NULL : ga_dup(conf->pool, word).p, build_id(conf));
	if (why != NULL) {
		gac_diag_error_at(diag, pos, "load_module: `%.*s` %s%s", (int)word.n, word.p, why,
		    m->manifest.path == NULL && !by_path ? nearest_module(conf, word) : "");
		return;
	}
	m->name = m->manifest.name;
	m->pos = *pos;
	known = gac_conf_module_find(conf, ga_str_c(m->name));
	if (known != NULL && known->index > 0) {
		gac_diag_warn_at(diag, pos, "load_module: `%s` is loaded already (line %u)", m->name,
		    known->pos.line);
		return;
	}
	if (known != NULL || !gac_module_name_ok(ga_str_c(m->name))) {
		gac_diag_error_at(diag, pos, "load_module: `%s` is not allowed as the name of a module", m->name);
		return;
	}
	register_module(conf, diag, m, m->manifest.directives);
}

struct gac_conf_module *gac_conf_module_find(const struct gac_conf *conf, struct ga_str name)
{
	return gac_strmap_get(&conf->module_names, name);
}

void gac_modules_load(struct gac_conf *conf, struct ga_diag *diag, const struct gac_stmt *top)
{
	const struct gac_pos whole = { conf->file, 0, 0 };
	struct gac_conf_module *core = ga_alloc(conf->pool, sizeof *core);

	core->name = GAC_CORE_MODULE;
	core->pos = whole;
	register_module(conf, diag, core, ga_str_c(gac_core_schema.text));
	for (const char *const *p = conf->options->preload; p != NULL && *p != NULL; p++)
		load(conf, diag, ga_str_c(*p), &whole);
	for (const struct gac_stmt *s = top; s != NULL; s = s->next) {
		if (s->block || !ga_str_eq(s->name.text, GA_STR("load_module")))
			continue;
		for (size_t i = 0; i < s->nwords; i++)
			load(conf, diag, s->words[i].text, &s->words[i].pos);
	}
	for (size_t i = 0; i < conf->ndecls; i++)
		gac_convert_default(conf, diag, conf->decls[i]);
}

/* ---- modules that are not loaded */

static void remember(struct gac_conf *conf, const struct gac_manifest *manifest)
{
	struct ga_diag *unheard = gac_diag_new();
	struct gac_conf_module *v = ga_alloc(conf->pool, (conf->nunloaded + 1) * sizeof *v), *m;

	for (size_t i = 0; i < conf->nunloaded; i++)
		v[i] = conf->unloaded[i];
	m = &v[conf->nunloaded++];
	m->name = manifest->name;
	m->manifest = *manifest;
	m->decls = gac_schema_read(conf->pool, unheard, NULL, m, m->name, manifest->directives, &m->ndecls);
	conf->unloaded = v;
	gac_diag_free(unheard);
}

static void scan(struct gac_conf *conf)
{
	struct gac_manifest m = { .level = -1 };
	struct dirent *e;
	DIR *dir;

	conf->scanned = true;
	for (size_t i = 0; i < conf->options->nbuiltin; i++)
		if (gac_manifest_parse(conf->pool, conf->options->builtin[i].text, &m) == NULL)
			remember(conf, &m);
	dir = conf->options->no_files ? NULL : opendir(conf->module_directory);
	while (dir != NULL && (e = readdir(dir)) != NULL) {
		struct ga_str name = ga_str_c(e->d_name);

		if (!ga_str_ends(name, GA_STR(".so")))
			continue;
		name.n -= 3;
		if (find_manifest(conf, ga_dup(conf->pool, name), &m) == NULL)
			remember(conf, &m);
	}
	if (dir != NULL)
		closedir(dir);
}

const char *gac_modules_declaring(struct gac_conf *conf, struct ga_str directive)
{
	if (!conf->scanned)
		scan(conf);
	for (size_t i = 0; i < conf->nunloaded; i++) {
		const struct gac_conf_module *m = &conf->unloaded[i];

		if (gac_conf_module_find(conf, ga_str_c(m->name)) != NULL)
			continue;
		for (size_t j = 0; j < m->ndecls; j++)
			if (ga_str_eq(m->decls[j].field, directive))
				return m->name;
	}
	return NULL;
}
