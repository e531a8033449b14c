/* main.c: shell commands for a network: "metabit predict 12 7 255" and "metabit learn 2 12 7 255" (class, then the numbers). */
#include <errno.h>

#include <zephyr/kernel.h>
#include <zephyr/shell/shell.h>

#include "metabit_lines.h"

/* The shell gives all that follows the command as one argument. */
static int run(const struct shell *sh, size_t argc, char **argv, char command)
{
	(void)lines_take(command);
	(void)lines_take(' ');
	for (const char *c = argc > 1 ? argv[1] : ""; *c != 0; c++) {
		(void)lines_take(*c);
	}
	const char *const said = lines_take('\n');

	if (said[0] == '?') {
		shell_error(sh, "%s", said);
		return -EINVAL;
	}
	shell_print(sh, "%s", said);
	return 0;
}

static int predict(const struct shell *sh, size_t argc, char **argv)
{
	return run(sh, argc, argv, 'p');
}

static int learn(const struct shell *sh, size_t argc, char **argv)
{
	return run(sh, argc, argv, 'l');
}

SHELL_STATIC_SUBCMD_SET_CREATE(commands,
	SHELL_CMD_ARG(predict, NULL, "the class of these numbers", predict, 1, SHELL_OPT_ARG_RAW),
	SHELL_CMD_ARG(learn, NULL, "a class, then numbers that belong to it", learn, 1, SHELL_OPT_ARG_RAW),
	SHELL_SUBCMD_SET_END
);
SHELL_CMD_REGISTER(metabit, &commands, "a network that learns", NULL);

int main(void)
{
	const mb_status status = lines_start();

	printk("metabit: %s\n", status == MB_OK ? "ready" : mb_strerror(status));
	return status == MB_OK ? 0 : -EINVAL;
}
