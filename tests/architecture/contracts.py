"""An import contract that lists the allowed imports of modules, where the stock ones list the forbidden ones."""

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, fields, output

STRINGS = fields.ListField(subfield=fields.StringField())


class OnlyContract(Contract):
    """`source_modules` import each other and `allowed_modules`, and nothing else; `except_modules` are not asked."""

    type_name = "only"

    source_modules: list[str] = STRINGS  # type: ignore[assignment]
    except_modules: list[str] = STRINGS  # type: ignore[assignment]
    allowed_modules: list[str] = STRINGS  # type: ignore[assignment]

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:  # noqa: ARG002 - import-linter's signature
        """Keep the contract, or list every import that is not allowed."""

        def named(expressions: list[str]) -> set[str]:
            return {module for expression in expressions for module in graph.find_matching_modules(expression)}

        sources = named(self.source_modules) - named(self.except_modules)
        strangers = [
            f"{source} -> {imported}"
            for source in sorted(sources)
            for imported in sorted(graph.find_modules_directly_imported_by(source) - sources)
            if imported not in self.allowed_modules
        ]
        return ContractCheck(kept=not strangers, metadata={"strangers": strangers})

    def render_broken_contract(self, check: ContractCheck) -> None:
        """Print one line for each import that is not allowed."""
        for stranger in check.metadata["strangers"]:
            output.print_error(f"- {stranger}", bold=False)
