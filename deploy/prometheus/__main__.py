"""`python -m deploy.prometheus [DOCS_URL]` writes `rules.yml`, with links to the pages below DOCS_URL."""

import sys

from deploy.prometheus.rules import RULES_FILE, rules_text

if __name__ == "__main__":
    RULES_FILE.write_text(rules_text(*sys.argv[1:2]), encoding="utf-8")
