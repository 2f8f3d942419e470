/*
 * objects.c - from statements to objects: blocks merged by name, directives in them
 *
 * Walks the tree once the modules' directives are known.  Each statement is
 * looked up, held against the place where it stands, and added to the setting
 * of its object; values are converted later, when all names are defined.
 * Called by gac_conf_load(); one thread; all memory is the configuration's.
 */
#include <stdlib.h>
#include <string.h>

#include "conf/conf_tree.h"
#include "conf/nearest.h"

struct builder {
	struct gac_conf *conf;
	struct ga_diag *diag;
};

static void walk(struct builder *, struct ga_object *, const struct gac_stmt *first);

/* ---- objects */

static struct ga_object *new_object(struct gac_conf *conf, struct ga_object *parent,
    const struct gac_context *ctx, struct ga_str name, const struct gac_stmt *s)
{
	struct ga_object *o = ga_alloc(conf->pool, sizeof *o);

	if (conf->nobjects == conf->objects_room) {
		struct ga_object **v;

		conf->objects_room = conf->objects_room == 0 ? 64 : conf->objects_room * 2;
		v = ga_alloc(conf->pool, conf->objects_room * sizeof *v);
		if (conf->nobjects > 0)
			memcpy(v, conf->objects, conf->nobjects * sizeof *v);
		conf->objects = v;
	}
	o->conf = conf;
	o->context = ctx;
	o->name = ga_dup(conf->pool, name);
	o->index = conf->nobjects;
	o->parent = parent == conf->root ? NULL : parent;
	o->tail = &o->children;
	gac_strmap_init(&o->by_name, conf->pool, true);
	o->pos = s == NULL ? (struct gac_pos){ conf->file, 0, 0 } : s->name.pos;
	o->where = s == NULL ? "" : s->where;
	conf->objects[conf->nobjects++] = o;
	if (parent != NULL) {
		*parent->tail = o;
		parent->tail = &o->next;
	}
	return o;
}

static struct ga_str key_of(struct ga_pool *pool, const struct gac_context *ctx, struct ga_str name)
{
	return ga_fmt(pool, "%s %.*s", ctx->name, (int)name.n, name.p);
}

static struct ga_object *find_or_make(struct gac_conf *conf, struct ga_object *parent,
    const struct gac_context *ctx, struct ga_str name, const struct gac_stmt *s)
{
	struct ga_str key = key_of(conf->pool, ctx, name);
	struct ga_object *o = gac_strmap_get(&parent->by_name, key);

	if (o == NULL) {
		o = new_object(conf, parent, ctx, name, s);
		gac_strmap_put(&parent->by_name, key, o);
	}
	return o;
}

struct ga_object *gac_object_find(const struct gac_conf *conf, unsigned contexts, struct ga_str name)
{
	char buf[320];

	for (int i = 0; i < GAC_NCONTEXTS; i++) {
		struct ga_object *o;
		size_t n = strlen(gac_contexts[i].name);

		if ((contexts & GAC_CTX_BIT(i)) == 0 || n + 1 + name.n > sizeof buf)
			continue;
		memcpy(buf, gac_contexts[i].name, n);
		buf[n] = ' ';
		if (name.n > 0)
			memcpy(buf + n + 1, name.p, name.n);
		o = gac_strmap_get(&conf->root->by_name, (struct ga_str){ buf, n + 1 + name.n });
		if (o != NULL)
			return o;
	}
	return NULL;
}

const char *gac_object_title(struct ga_pool *pool, const struct ga_object *o)
{
	if (o->context->id == GAC_CTX_TOP)
		return "the top level";
	return ga_fmt(pool, "%s%s%.*s%s%s", o->context->name, o->name.n > 0 ? " " : "",
	    (int)o->name.n, o->name.p, o->parent != NULL ? " of " : "",
	    o->parent != NULL ? gac_object_title(pool, o->parent) : "").p;
}

/* ---- what stands behind the name of a block */

static void bad_arg(struct builder *b, const struct gac_pos *pos, const struct gac_context *ctx,
    const char *what)
{
	gac_diag_error_at(b->diag, pos, "%s: %s", ctx->name, what);
}

static bool any_of_context(const struct gac_context *ctx, struct ga_str name)
{
	return ctx->arg == GAC_ARG_NAMES && ga_str_eq(name, GA_STR("*"));
}

static bool name_ok(struct builder *b, const struct gac_context *ctx, const struct gac_word *w)
{
	const struct gac_kind_env env = { b->conf->pool, b->conf->control_directory, b->conf->files };
	const bool hostport = ctx->arg == GAC_ARG_HOSTPORT;
	const struct gac_kind *kind = gac_kind_find(hostport ? GA_STR("host_port") : GA_STR("name"));
	struct ga_str s = w->text;
	const char *why = kind->check(&env, &s);

	if (why == NULL && !hostport && ga_str_eq(w->text, GA_STR("*")) && ctx->arg != GAC_ARG_NAMES)
		why = "stands for all only behind ip_address";
	if (why != NULL)
		gac_diag_error_at(b->diag, &w->pos, "%s: `%.*s` %s", ctx->name, (int)w->text.n, w->text.p, why);
	return why == NULL;
}

/* ip_address, relay_server and routing_rule share their names. */
static bool namespace_ok(struct builder *b, const struct gac_context *ctx, const struct gac_word *w)
{
	const struct ga_object *other;
	unsigned others = 0;

	for (int i = 0; ctx->virtual_mta && i < GAC_NCONTEXTS; i++)
		if (gac_contexts[i].virtual_mta && &gac_contexts[i] != ctx)
			others |= GAC_CTX_BIT(i);
	other = others == 0 ? NULL : gac_object_find(b->conf, others, w->text);
	if (other == NULL)
		return true;
	gac_diag_error_at(b->diag, &w->pos, "%s: `%.*s` is already the name of %s %s (%s)", ctx->name,
	    (int)w->text.n, w->text.p, strchr("aeiou", other->context->name[0]) != NULL ? "an" : "a",
	    other->context->name, other->where);
	return false;
}

static bool module_ok(struct builder *b, const struct gac_context *ctx, const struct gac_word *w)
{
	struct gac_nearest near;

	if (gac_conf_module_find(b->conf, w->text) != NULL)
		return true;
	gac_nearest_init(&near, w->text);
	for (size_t i = 0; i < b->conf->nmodules; i++)
		gac_nearest_offer(&near, ga_str_c(b->conf->modules[i]->name));
	gac_diag_error_at(b->diag, &w->pos, "%s: `%.*s` is not loaded: `load_module %.*s` is missing%s",
	    ctx->name, (int)w->text.n, w->text.p, (int)w->text.n, w->text.p,
	    gac_nearest_hint(&near, b->conf->pool));
	return false;
}

/* The patterns with commas between: two blocks of the same patterns are one. */
static struct ga_str joined(struct ga_pool *pool, const struct ga_str *v, size_t n)
{
	size_t size = 0, at = 0;
	char *p;

	for (size_t i = 0; i < n; i++)
		size += v[i].n + 1;
	p = ga_alloc(pool, size + 1);
	for (size_t i = 0; i < n; i++) {
		memcpy(p + at, v[i].p, v[i].n);
		at += v[i].n;
		if (i + 1 < n)
			p[at++] = ',';
	}
	return (struct ga_str){ p, at };
}

static void domain_block(struct builder *b, struct ga_object *parent, const struct gac_context *ctx,
    const struct gac_stmt *s)
{
	struct ga_pool *pool = b->conf->pool;
	struct gac_pattern *v = ga_alloc(pool, s->nwords * sizeof *v);
	struct ga_str *texts = ga_alloc(pool, s->nwords * sizeof *texts);
	struct ga_object *o;
	bool ok = true;

	for (size_t i = 0; i < s->nwords; i++) {
		const struct gac_word *w = &s->words[i];
		const char *why = gac_pattern_parse(pool, w->text, &v[i]);

		if (why != NULL)
			gac_diag_error_at(b->diag, &w->pos, "domain: `%.*s` %s", (int)w->text.n, w->text.p, why);
		ok = ok && why == NULL;
		texts[i] = v[i].text;
	}
	/* With a bad pattern the block is still checked, under a name of its own. */
	o = find_or_make(b->conf, parent, ctx, ok ? joined(pool, texts, s->nwords) : GA_STR("?"), s);
	if (o->patterns == NULL && ok) {
		o->patterns = v;
		o->npatterns = s->nwords;
		o->pattern_texts = (struct ga_strlist){ texts, s->nwords };
	}
	walk(b, o, s->children);
}

static void module_block(struct builder *b, const struct gac_context *ctx, const struct gac_stmt *s)
{
	struct gac_conf_module *m = gac_conf_module_find(b->conf, s->words[0].text);

	if (module_ok(b, ctx, &s->words[0])) {
		struct ga_object *o = find_or_make(b->conf, b->conf->root, ctx, s->words[0].text, s);

		b->conf->module_objects[m->index] = o;
		walk(b, o, s->children);
	}
}

static void named_block(struct builder *b, struct ga_object *parent, const struct gac_context *ctx,
    const struct gac_stmt *s)
{
	for (size_t i = 0; i < s->nwords; i++) {
		const struct gac_word *w = &s->words[i];
		struct ga_object *o;

		if (!any_of_context(ctx, w->text) && !name_ok(b, ctx, w))
			continue;
		if (!namespace_ok(b, ctx, w))
			continue;
		o = find_or_make(b->conf, parent, ctx, w->text, s);
		if (any_of_context(ctx, w->text))
			b->conf->any_ip = o;
		walk(b, o, s->children);
	}
}

static bool args_ok(struct builder *b, const struct gac_context *ctx, const struct gac_stmt *s)
{
	bool many = ctx->arg == GAC_ARG_NAMES || ctx->arg == GAC_ARG_PATTERNS;

	if (ctx->arg == GAC_ARG_NONE && s->nwords > 0)
		bad_arg(b, &s->words[0].pos, ctx, "nothing stands between it and `{`");
	else if (ctx->arg != GAC_ARG_NONE && s->nwords == 0)
		bad_arg(b, &s->name.pos, ctx, ga_fmt(b->conf->pool, "%s is missing", ctx->arg_help).p);
	else if (ctx->arg != GAC_ARG_NONE && !many && s->nwords > 1)
		bad_arg(b, &s->words[1].pos, ctx, "takes one name; quote a name with blanks in it");
	else
		return true;
	return false;
}

static void block(struct builder *b, struct ga_object *parent, const struct gac_context *ctx,
    const struct gac_stmt *s)
{
	if ((ctx->parents & GAC_CTX_BIT(parent->context->id)) == 0) {
		gac_diag_error_at(b->diag, &s->name.pos, "a %s block stands in %s, not in %s", ctx->name,
		    gac_context_names(b->conf->pool, ctx->parents), gac_object_title(b->conf->pool, parent));
		return;
	}
	if (!args_ok(b, ctx, s))
		return;
	switch (ctx->arg) {
	case GAC_ARG_NONE:
		if (b->conf->general->where[0] == '\0') {
			b->conf->general->where = s->where;
			b->conf->general->pos = s->name.pos;
		}
		walk(b, b->conf->general, s->children);
		break;
	case GAC_ARG_PATTERNS:
		domain_block(b, parent, ctx, s);
		break;
	case GAC_ARG_MODULE:
		module_block(b, ctx, s);
		break;
	default:
		named_block(b, parent, ctx, s);
	}
}

/* ---- directives */

static const struct gac_decl *decl_first(const struct gac_conf *conf, struct ga_str name)
{
	return gac_strmap_get(&conf->decl_names, name);
}

/*
 * A routing_rule sends nothing itself: its domain blocks hold what routing rules
 * know and nothing else, and what only routing rules know stands in no other
 * domain block.
 */
static bool stands_in_domain(const struct gac_decl *d, const struct ga_object *parent)
{
	if (parent != NULL && parent->context->id == GAC_CTX_ROUTING_RULE)
		return (d->contexts & GAC_CTX_BIT(GAC_CTX_ROUTING_RULE)) != 0;
	return !gac_decl_of_routing_rules(d);
}

bool gac_decl_stands_in(const struct gac_decl *d, const struct ga_object *o)
{
	if ((d->contexts & GAC_CTX_BIT(o->context->id)) == 0)
		return false;
	if (o->context->id == GAC_CTX_DOMAIN)
		return stands_in_domain(d, o->parent);
	return o->context->id != GAC_CTX_MODULE || ga_str_caseeq(o->name, ga_str_c(d->module->name));
}

static void add_part(struct gac_conf *conf, struct ga_object *o, const struct gac_decl *d,
    const struct gac_stmt *s)
{
	struct gac_part *part = ga_alloc(conf->pool, sizeof *part);
	struct gac_setting *st = o->building;

	while (st != NULL && st->decl != d)
		st = st->next;
	if (st == NULL) {
		st = ga_alloc(conf->pool, sizeof *st);
		st->decl = d;
		st->object = o;
		st->tail = &st->parts;
		st->next = o->building;
		o->building = st;
		o->nsettings++;
	}
	part->stmt = s;
	*st->tail = part;
	st->tail = &part->next;
	st->last = s;
}

/* "default_x" -> "x"; others stay as they are. */
static struct ga_str without_default(struct ga_str name)
{
	const size_t n = sizeof GAC_TEMPLATE_PREFIX - 1;

	if (name.n <= n || memcmp(name.p, GAC_TEMPLATE_PREFIX, n) != 0)
		return name;
	return (struct ga_str){ name.p + n, name.n - n };
}

static bool is_template(const struct ga_object *o)
{
	return o->context->id == GAC_CTX_THROTTLE_TEMPLATE;
}

/* The directive that a statement of that object means. */
static struct ga_str meant(const struct ga_object *o, struct ga_str written)
{
	return is_template(o) ? without_default(written) : written;
}

struct ga_str gac_decl_written(struct ga_pool *pool, const struct gac_decl *d, const struct ga_object *o)
{
	return is_template(o) ? ga_fmt(pool, GAC_TEMPLATE_PREFIX "%s", d->field.p) : d->field;
}

static void misplaced(struct builder *b, const struct ga_object *o, const struct gac_decl *first,
    const struct gac_stmt *s)
{
	unsigned bits = 0;
	const char *title = gac_object_title(b->conf->pool, o);

	for (const struct gac_decl *d = first; d != NULL; d = d->same)
		bits |= d->contexts;
	if ((bits & GAC_CTX_BIT(o->context->id)) == 0 || o->context->id != GAC_CTX_DOMAIN)
		gac_diag_error_at(b->diag, &s->name.pos, "%s stands in %s, not in %s", first->field.p,
		    gac_context_names(b->conf->pool, bits), title);
	else if (o->parent != NULL && o->parent->context->id == GAC_CTX_ROUTING_RULE)
		gac_diag_error_at(b->diag, &s->name.pos, "%s is for the VirtualMTAs that a routing_rule chooses: "
		    "it cannot stand in %s", first->field.p, title);
	else
		gac_diag_error_at(b->diag, &s->name.pos, "%s stands in routing_rule and its domain blocks, not in %s",
		    first->field.p, title);
}

static void unknown(struct builder *b, const struct ga_object *o, const struct gac_stmt *s)
{
	struct ga_pool *pool = b->conf->pool;
	const struct ga_str name = s->name.text;
	const char *module = s->block ? NULL : gac_modules_declaring(b->conf, meant(o, name));
	struct gac_nearest near;

	if (module != NULL) {
		gac_diag_error_at(b->diag, &s->name.pos,
		    "%.*s is a directive of module %s, which is not loaded: `load_module %s` is missing",
		    (int)name.n, name.p, module, module);
		return;
	}
	gac_nearest_init(&near, name);
	/* What may stand here comes first; of equals the first offer stays. */
	for (int here = 1; here >= 0; here--) {
		for (size_t i = 0; !s->block && i < b->conf->ndecls; i++)
			if (gac_decl_stands_in(b->conf->decls[i], o) == (here == 1))
				gac_nearest_offer(&near, here == 1 ? gac_decl_written(pool, b->conf->decls[i], o) :
				    b->conf->decls[i]->field);
		for (int i = GAC_CTX_TOP + 1; i < GAC_NCONTEXTS; i++)
			if (((gac_contexts[i].parents & GAC_CTX_BIT(o->context->id)) != 0) == (here == 1))
				gac_nearest_offer(&near, ga_str_c(gac_contexts[i].name));
	}
	gac_diag_error_at(b->diag, &s->name.pos, "unknown %s `%.*s`%s", s->block ? "block" : "directive",
	    (int)name.n, name.p, gac_nearest_hint(&near, pool));
}

/* A directive that this kind of block does not know. */
static void out_of_place(struct builder *b, const struct ga_object *o, const struct gac_stmt *s)
{
	const struct gac_decl *d = decl_first(b->conf, meant(o, s->name.text));
	const struct gac_decl *x = decl_first(b->conf, without_default(s->name.text));
	const struct gac_context *ctx = gac_context_find(s->name.text);

	if (d == NULL)
		d = decl_first(b->conf, s->name.text);
	if (d != NULL)
		misplaced(b, o, d, s);
	else if (x != NULL && gac_decl_in_template(x))
		gac_diag_error_at(b->diag, &s->name.pos, GAC_TEMPLATE_PREFIX "%s stands in throttle_template, not in %s",
		    x->field.p, gac_object_title(b->conf->pool, o));
	else if (ctx != NULL && gac_modules_declaring(b->conf, s->name.text) == NULL)
		gac_diag_error_at(b->diag, &s->name.pos, "%s is a block: its line ends in `{`", ctx->name);
	else
		unknown(b, o, s);
}

static void directive(struct builder *b, struct ga_object *o, const struct gac_stmt *s)
{
	const struct ga_str name = meant(o, s->name.text);
	const struct gac_context *ctx = gac_context_find(s->name.text);
	bool found = false;

	for (const struct gac_decl *d = decl_first(b->conf, name); d != NULL; d = d->same) {
		if (!gac_decl_stands_in(d, o))
			continue;
		found = true;
		if (is_template(o) && name.n == s->name.text.n)
			gac_diag_error_at(b->diag, &s->name.pos, "%s is " GAC_TEMPLATE_PREFIX "%s in a throttle_template: "
			    "it is for the domains that no rule names", d->field.p, d->field.p);
		else
			add_part(b->conf, o, d, s);
	}
	if (found)
		return;
	if (ctx != NULL && ctx->bare && (ctx->parents & GAC_CTX_BIT(o->context->id)) != 0)
		block(b, o, ctx, s);
	else
		out_of_place(b, o, s);
}

static void walk(struct builder *b, struct ga_object *o, const struct gac_stmt *first)
{
	for (const struct gac_stmt *s = first; s != NULL; s = s->next) {
		const struct gac_context *ctx = s->block ? gac_context_find(s->name.text) : NULL;

		if (!s->block)
			directive(b, o, s);
		else if (ctx != NULL)
			block(b, o, ctx, s);
		else if (decl_first(b->conf, s->name.text) != NULL)
			gac_diag_error_at(b->diag, &s->name.pos, "%.*s is a directive, not a block: no `{` here",
			    (int)s->name.text.n, s->name.text.p);
		else
			unknown(b, o, s);
	}
}

void gac_objects_build(struct gac_conf *conf, struct ga_diag *diag, const struct gac_stmt *top)
{
	struct builder b = { conf, diag };

	conf->root = new_object(conf, NULL, &gac_contexts[GAC_CTX_TOP], GA_STR(""), NULL);
	conf->general = find_or_make(conf, conf->root, &gac_contexts[GAC_CTX_GENERAL], GA_STR(""), NULL);
	conf->module_objects = ga_alloc(conf->pool, conf->nmodules * sizeof *conf->module_objects);
	walk(&b, conf->root, top);
}
