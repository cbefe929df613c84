//! From tokens to a tree: CEL's grammar. Names are not looked up here.

use super::lexer::{Flaw, Lexeme, Token, tokens};
use super::limits::MAX_NESTING;
use super::operators::Operator;

/// Which bytes of the expression something was written as.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: usize,
    pub(super) end: usize,
}

impl Span {
    pub(super) fn new(start: usize, end: usize) -> Self {
        Self { start, end }
    }

    /// From the beginning of this to the end of `other`.
    pub(super) fn to(self, other: Self) -> Self {
        Self::new(self.start, other.end)
    }
}

/// What was written, and where.
#[derive(Debug)]
pub(super) struct Syntax {
    pub(super) span: Span,
    pub(super) form: Form,
}

#[derive(Debug)]
pub(super) enum Form {
    Null,
    Bool(bool),
    Int(i128),
    Float(f64),
    Text(String),
    Bytes(Vec<u8>),
    Name(String),
    /// `f(…)`.
    Call(String, Vec<Syntax>),
    /// `a.b[c].f(…)`: what follows the first part, in its order. A chain is no nesting, so long
    /// ones need no stack.
    Member(Box<Syntax>, Vec<Suffix>),
    Not(Box<Syntax>),
    Negate(Box<Syntax>),
    /// `a + b - c`: operators of one rank, from left to right.
    Chain(Box<Syntax>, Vec<(Operator, Syntax)>),
    All(Vec<Syntax>),
    Any(Vec<Syntax>),
    Conditional(Box<[Syntax; 3]>),
    List(Vec<Syntax>),
    Object(Vec<(Syntax, Syntax)>),
}

#[derive(Debug)]
pub(super) struct Suffix {
    /// From the beginning of what it follows.
    pub(super) span: Span,
    pub(super) kind: SuffixKind,
}

#[derive(Debug)]
pub(super) enum SuffixKind {
    Field(String),
    Index(Syntax),
    Call(String, Vec<Syntax>),
}

type Parsed<T = Syntax> = Result<T, Flaw>;

/// The tree of the expression `source`.
pub(super) fn parse(source: &str) -> Parsed {
    let mut parser = Parser {
        lexemes: tokens(source)?,
        next: 0,
        nesting: 0,
    };
    let tree = parser.expression()?;
    match parser.peek() {
        Token::End => Ok(tree),
        _ => Err(parser.unexpected("the end or an operator")),
    }
}

struct Parser {
    lexemes: Vec<Lexeme>,
    next: usize,
    nesting: usize,
}

impl Parser {
    fn peek(&self) -> &Token {
        self.lexemes
            .get(self.next)
            .map_or(&Token::End, |lexeme| &lexeme.token)
    }

    fn span(&self) -> Span {
        let last = self.lexemes.len().saturating_sub(1);
        self.lexemes
            .get(self.next.min(last))
            .map_or_else(Span::default, |lexeme| lexeme.span)
    }

    fn take(&mut self, symbol: &str) -> bool {
        let fits = matches!(self.peek(), Token::Symbol(next) if *next == symbol);
        if fits {
            self.next += 1;
        }
        fits
    }

    fn expect(&mut self, symbol: &str) -> Parsed<Span> {
        let span = self.span();
        if self.take(symbol) {
            Ok(span)
        } else {
            Err(self.unexpected(&format!("`{symbol}`")))
        }
    }

    fn unexpected(&self, wanted: &str) -> Flaw {
        let found = match self.peek() {
            Token::End => "the end".to_owned(),
            Token::Name(name) => format!("`{name}`"),
            Token::Symbol(symbol) => format!("`{symbol}`"),
            Token::Int(_) | Token::Float(_) => "a number".to_owned(),
            Token::Text(_) | Token::Bytes(_) => "a text".to_owned(),
        };
        Flaw {
            at: self.span().start,
            message: format!("expected {wanted}, found {found}"),
        }
    }

    /// One level deeper, for everything that the parser calls itself for.
    fn nested<T>(&mut self, parse: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.nesting == MAX_NESTING {
            return Err(Flaw {
                at: self.span().start,
                message: format!("nested deeper than {MAX_NESTING} levels"),
            });
        }
        self.nesting += 1;
        let parsed = parse(self);
        self.nesting -= 1;
        parsed
    }

    fn expression(&mut self) -> Parsed {
        let condition = self.any()?;
        if !self.take("?") {
            return Ok(condition);
        }
        let yes = self.nested(Self::any)?;
        self.expect(":")?;
        let no = self.nested(Self::expression)?;
        Ok(Syntax {
            span: condition.span.to(no.span),
            form: Form::Conditional(Box::new([condition, yes, no])),
        })
    }

    fn any(&mut self) -> Parsed {
        self.logical("||", Self::all, Form::Any)
    }

    fn all(&mut self) -> Parsed {
        self.logical("&&", Self::relation, Form::All)
    }

    fn logical(
        &mut self,
        symbol: &str,
        operand: fn(&mut Self) -> Parsed,
        form: fn(Vec<Syntax>) -> Form,
    ) -> Parsed {
        let first = operand(self)?;
        let mut span = first.span;
        let mut operands = vec![first];
        while self.take(symbol) {
            let next = operand(self)?;
            span = span.to(next.span);
            operands.push(next);
        }
        Ok(match operands.pop() {
            Some(only) if operands.is_empty() => only,
            last => {
                operands.extend(last);
                Syntax {
                    span,
                    form: form(operands),
                }
            }
        })
    }

    fn relation(&mut self) -> Parsed {
        self.chain(&Operator::RELATIONS, Self::sum)
    }

    fn sum(&mut self) -> Parsed {
        self.chain(&Operator::SUMS, Self::product)
    }

    fn product(&mut self) -> Parsed {
        self.chain(&Operator::PRODUCTS, Self::unary)
    }

    fn chain(&mut self, operators: &[Operator], operand: fn(&mut Self) -> Parsed) -> Parsed {
        let first = operand(self)?;
        let mut span = first.span;
        let mut rest = Vec::new();
        while let Some(operator) = self.operator(operators) {
            self.next += 1;
            let next = operand(self)?;
            span = span.to(next.span);
            rest.push((operator, next));
        }
        if rest.is_empty() {
            return Ok(first);
        }
        Ok(Syntax {
            span,
            form: Form::Chain(Box::new(first), rest),
        })
    }

    fn operator(&self, operators: &[Operator]) -> Option<Operator> {
        let written = match self.peek() {
            Token::Symbol(symbol) => symbol,
            Token::Name(name) => name.as_str(),
            _ => return None,
        };
        let mut known = operators.iter();
        known.find(|known| known.symbol() == written).copied()
    }

    fn unary(&mut self) -> Parsed {
        let span = self.span();
        let form = if self.take("!") {
            Form::Not
        } else if self.take("-") {
            Form::Negate
        } else {
            return self.member();
        };
        let operand = self.nested(Self::unary)?;
        Ok(Syntax {
            span: span.to(operand.span),
            form: form(Box::new(operand)),
        })
    }

    fn member(&mut self) -> Parsed {
        let first = self.primary()?;
        let start = first.span;
        let mut suffixes = Vec::new();
        loop {
            let kind = if self.take(".") {
                self.selector()?
            } else if self.take("[") {
                let index = self.nested(Self::expression)?;
                self.expect("]")?;
                SuffixKind::Index(index)
            } else {
                break;
            };
            let end = self.lexemes[self.next.saturating_sub(1)].span;
            suffixes.push(Suffix {
                span: start.to(end),
                kind,
            });
        }
        if matches!(self.peek(), Token::Symbol("{")) {
            return Err(self.unexpected("an operator (there are no message types to build)"));
        }
        let Some(last) = suffixes.last() else {
            return Ok(first);
        };
        Ok(Syntax {
            span: last.span,
            form: Form::Member(Box::new(first), suffixes),
        })
    }

    /// What stands behind a point.
    fn selector(&mut self) -> Parsed<SuffixKind> {
        let span = self.span();
        match self.peek().clone() {
            Token::Name(name) => {
                self.next += 1;
                if self.take("(") {
                    Ok(SuffixKind::Call(name, self.arguments()?))
                } else {
                    Ok(SuffixKind::Field(name))
                }
            }
            Token::Int(index) => {
                self.next += 1;
                Ok(SuffixKind::Index(Syntax {
                    span,
                    form: Form::Int(index),
                }))
            }
            Token::Symbol("?") => Err(Flaw {
                at: span.start,
                message: "there is no `.?`; `default(path, otherwise)` yields something else \
                          where nothing is"
                    .to_owned(),
            }),
            _ => Err(self.unexpected("the name of a field")),
        }
    }

    /// The arguments behind `(`, and the `)`.
    fn arguments(&mut self) -> Parsed<Vec<Syntax>> {
        let mut arguments = Vec::new();
        if self.take(")") {
            return Ok(arguments);
        }
        loop {
            arguments.push(self.nested(Self::expression)?);
            if !self.take(",") {
                self.expect(")")?;
                return Ok(arguments);
            }
        }
    }

    fn primary(&mut self) -> Parsed {
        let span = self.span();
        let token = self.peek().clone();
        self.next += 1;
        let form = match token {
            Token::Int(value) => Form::Int(value),
            Token::Float(value) => Form::Float(value),
            Token::Text(value) => Form::Text(value),
            Token::Bytes(value) => Form::Bytes(value),
            Token::Name(name) => match name.as_str() {
                "null" => Form::Null,
                "true" => Form::Bool(true),
                "false" => Form::Bool(false),
                "in" => {
                    self.next -= 1;
                    return Err(self.unexpected("a value"));
                }
                _ if self.take("(") => Form::Call(name, self.arguments()?),
                _ => Form::Name(name),
            },
            Token::Symbol("(") => {
                let inner = self.nested(Self::expression)?;
                let end = self.expect(")")?;
                return Ok(Syntax {
                    span: span.to(end),
                    form: inner.form,
                });
            }
            Token::Symbol("[") => Form::List(self.list()?),
            Token::Symbol("{") => Form::Object(self.object()?),
            Token::Symbol(_) | Token::End => {
                self.next -= 1;
                return Err(self.unexpected("a value"));
            }
        };
        let end = self.lexemes[self.next.saturating_sub(1)].span;
        Ok(Syntax {
            span: span.to(end),
            form,
        })
    }

    fn list(&mut self) -> Parsed<Vec<Syntax>> {
        let mut items = Vec::new();
        while !self.take("]") {
            items.push(self.nested(Self::expression)?);
            if !self.take(",") {
                self.expect("]")?;
                break;
            }
        }
        Ok(items)
    }

    fn object(&mut self) -> Parsed<Vec<(Syntax, Syntax)>> {
        let mut entries = Vec::new();
        while !self.take("}") {
            let key = self.nested(Self::expression)?;
            self.expect(":")?;
            let value = self.nested(Self::expression)?;
            entries.push((key, value));
            if !self.take(",") {
                self.expect("}")?;
                break;
            }
        }
        Ok(entries)
    }
}
