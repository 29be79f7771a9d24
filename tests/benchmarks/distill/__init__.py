"""What a step of distillation costs, beside a naive implementation and, where installed, TRL's."""
